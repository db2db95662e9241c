//! The first format of the catalog's entries (1), as it was: it is read for ever and never written.
//!
//! Views had no attributes. Everything else is as it is now, so only what contains a view is spelled out here.

use super::command::{Command, Settings};
use super::state::CatalogState;
use headwater::ids::{CatalogVersion, StreamId, ViewId};
use headwater::plan::Plan;
use headwater::value::DataType;
use headwater_sql::definition::{self, Output, SelectItem, StreamDef};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct ViewDef {
    id: ViewId,
    name: String,
    query: String,
    options: Vec<(String, String)>,
    plan: Plan,
    keys: Vec<(String, DataType)>,
    outputs: Vec<Output>,
    select: Vec<SelectItem>,
}

impl From<ViewDef> for definition::ViewDef {
    fn from(def: ViewDef) -> Self {
        let ViewDef { id, name, query, options, plan, keys, outputs, select } = def;
        Self { id, name, query, options, plan, keys, outputs, select, attributes: Vec::new() }
    }
}

#[derive(Deserialize)]
pub(super) enum Ddl {
    CreateStream { def: StreamDef, if_not_exists: bool },
    DropStream { name: String, if_exists: bool, cascade: bool },
    CreateView { def: Box<ViewDef>, if_not_exists: bool },
    DropView { name: String, if_exists: bool },
}

impl From<Ddl> for definition::Ddl {
    fn from(ddl: Ddl) -> Self {
        match ddl {
            Ddl::CreateStream { def, if_not_exists } => Self::CreateStream { def, if_not_exists },
            Ddl::DropStream { name, if_exists, cascade } => Self::DropStream { name, if_exists, cascade },
            Ddl::CreateView { def, if_not_exists } => {
                Self::CreateView { def: Box::new((*def).into()), if_not_exists }
            }
            Ddl::DropView { name, if_exists } => Self::DropView { name, if_exists },
        }
    }
}

#[derive(Deserialize)]
pub(super) enum FirstCommand {
    Init(Settings),
    Ddl(Ddl),
}

impl From<FirstCommand> for Command {
    fn from(command: FirstCommand) -> Self {
        match command {
            FirstCommand::Init(settings) => Self::Init(settings),
            FirstCommand::Ddl(ddl) => Self::Ddl(ddl.into()),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct FirstState {
    version: CatalogVersion,
    settings: Settings,
    streams: Vec<StreamDef>,
    views: Vec<ViewDef>,
    last_stream: StreamId,
    last_view: ViewId,
}

impl From<FirstState> for CatalogState {
    fn from(state: FirstState) -> Self {
        let FirstState { version, settings, streams, views, last_stream, last_view } = state;
        let views = views.into_iter().map(Into::into).collect();
        Self { version, settings, streams, views, last_stream, last_view, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::command::decode;
    use crate::catalog::testing::{stream_def, view_def};
    use headwater::ids::PlanVersion;

    /// Written by the program that had format 1.
    const COMMANDS: [&str; 6] = [
        "010001010101010101010101010101010101020304040404040404040404040404040404",
        "01010000017302016b0701760300",
        "0101020001762d53454c454354206b2c20636f756e74282a292c2073756d2876292046524f4d2073312047524f5550204259206b01\
         0374746c0733302064617973000701020000070001030001000200000000010301010080800401016b070202243000000302243101\
         0006260001016b016b01",
        "0101020001772d53454c454354206b2c20636f756e74282a292c2073756d2876292046524f4d2073312047524f5550204259206b\
         00000101020000070001030001000200000000010301010080800401016b0702022430000003022431010006260001016b016b00",
        "010103017701",
        "01010101740101",
    ];

    const STATE: &str = "0103010101010101010101010101010101010203040404040404040404040404040404040101017302016b0701760301010176\
         2d53454c454354206b2c20636f756e74282a292c2073756d2876292046524f4d2073312047524f5550204259206b010374746c\
         0733302064617973010701020000070001030001000200000000010301010080800401016b0702022430000003022431010006\
         260001016b016b0102";

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    fn view() -> definition::ViewDef {
        let mut view = view_def("v", 1);
        view.options = vec![("ttl".into(), "30 days".into())];
        view.plan.version = PlanVersion(7);
        view
    }

    fn commands() -> Vec<Command> {
        let settings = Settings { cluster: [1; 16], hub: 2, shard_groups: 3, routing_key: [4; 16] };
        let ddl = [
            definition::Ddl::CreateStream { def: stream_def("s"), if_not_exists: false },
            definition::Ddl::CreateView { def: Box::new(view()), if_not_exists: true },
            definition::Ddl::CreateView { def: Box::new(view_def("w", 1)), if_not_exists: false },
            definition::Ddl::DropView { name: "w".into(), if_exists: true },
            definition::Ddl::DropStream { name: "t".into(), if_exists: true, cascade: true },
        ];
        std::iter::once(Command::Init(settings)).chain(ddl.map(Command::Ddl)).collect()
    }

    #[test]
    fn commands_of_the_first_format_are_read() {
        for (hex, command) in COMMANDS.iter().zip(commands()) {
            assert_eq!(decode::<Command>(&bytes(hex)), Ok(command));
        }
    }

    #[test]
    fn a_catalog_of_the_first_format_opens() {
        let mut replayed = CatalogState::default();
        for hex in &COMMANDS[..5] {
            let command: Command = decode(&bytes(hex)).expect("a command");
            assert_eq!(replayed.apply(&command), Ok(true), "{command:?}");
        }
        let snapshot: CatalogState = decode(&bytes(STATE)).expect("a snapshot");
        assert_eq!(replayed.snapshot().views, snapshot.snapshot().views);
        assert_eq!(replayed.snapshot().streams, snapshot.snapshot().streams);
        assert_eq!((replayed.last_view(), replayed.settings()), (snapshot.last_view(), snapshot.settings()));
    }
}
