//! The second format of the catalog's snapshots (2), as it was: it is read for ever and never written.
//!
//! There were no tables. Commands have the same bytes in both formats, but for those about tables.

use super::command::Settings;
use super::state::CatalogState;
use headwater::ids::{CatalogVersion, StreamId, ViewId};
use headwater_sql::definition::{StreamDef, ViewDef};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct SecondState {
    version: CatalogVersion,
    settings: Settings,
    streams: Vec<StreamDef>,
    views: Vec<ViewDef>,
    last_stream: StreamId,
    last_view: ViewId,
}

impl From<SecondState> for CatalogState {
    fn from(state: SecondState) -> Self {
        let SecondState { version, settings, streams, views, last_stream, last_view } = state;
        Self { version, settings, streams, views, last_stream, last_view, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::command::{Command, Settings, decode};
    use crate::catalog::state::CatalogState;
    use crate::catalog::testing::{stream_def, table_def, view_def};
    use headwater::ids::{PlanVersion, ViewId};
    use headwater_sql::definition::{Attribute, Ddl, TableId, ViewChange, ViewDef};

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    /// As format 2 has them: a stream, a view with attributes, its activation.
    const COMMANDS: [&str; 4] = [
        "020001010101010101010101010101010101020304040404040404040404040404040404",
        "02010000017302016b0701760300",
        "0201020001762d53454c454354206b2c20636f756e74282a292c2073756d2876292046524f4d2073312047524f5550204259\
         206b00000701020000070001030001000200000000010301010080800401016b070202243000000302243101000626000101\
         6b016b0201062430203e20310501",
        "02010401010201",
    ];

    const STATE: &str = "0204010101010101010101010101010101010203040404040404040404040404040404040101017302016b07017603010101\
                         762d53454c454354206b2c20636f756e74282a292c2073756d2876292046524f4d2073312047524f5550204259206b000107\
                         01020000070001030001000200000000010301010080800401016b0702022430000003022431010006260001016b016b0101\
                         062430203e20310101";

    fn view() -> ViewDef {
        let mut view = view_def("v", 1);
        view.attributes = vec![Attribute::Having("$0 > 1".into()), Attribute::Inactive];
        view.plan.version = PlanVersion(7);
        view
    }

    fn commands() -> Vec<Command> {
        let settings = Settings { cluster: [1; 16], hub: 2, shard_groups: 3, routing_key: [4; 16] };
        let ddl = [
            Ddl::CreateStream { def: stream_def("s"), if_not_exists: false },
            Ddl::CreateView { def: Box::new(view()), if_not_exists: true },
            Ddl::AlterView { view: Some(ViewId(1)), change: ViewChange::Active(true) },
        ];
        std::iter::once(Command::Init(settings)).chain(ddl.map(Command::Ddl)).collect()
    }

    #[test]
    fn commands_of_the_second_format_are_read() {
        for (hex, command) in COMMANDS.iter().zip(commands()) {
            assert_eq!(decode::<Command>(&bytes(hex)), Ok(command));
        }
    }

    #[test]
    fn a_catalog_of_the_second_format_opens_and_takes_tables() {
        let mut replayed = CatalogState::default();
        for command in commands() {
            assert_eq!(replayed.apply(&command), Ok(true), "{command:?}");
        }
        let mut state: CatalogState = decode(&bytes(STATE)).expect("a snapshot");
        assert_eq!(state, replayed);
        let table = Ddl::CreateTable { def: table_def("t", true), if_not_exists: false };
        assert_eq!(state.apply(&Command::Ddl(table)), Ok(true));
        assert_eq!(state.snapshot().table("t").map(|t| t.id), Some(TableId(1)));
    }
}
