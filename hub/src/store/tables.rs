//! All tables of `hub.redb` and `catalog.redb`, and the bytes of their keys.
//!
//! Every table maps bytes to bytes; integers in keys are big-endian, so that byte order is number order.
//! The schema number is part of a table's name: it changes when keys or meaning do. Values have version bytes of their own.

use headwater::ids::{CatalogVersion, Lsn, Pid, ShardGroupId, ViewId};
use headwater_sql::definition::TableId;
use redb::TableDefinition;

/// A table of bytes.
pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// The tables. The discriminant is the position in [`Table::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Table {
    /// Log records not folded yet: shard group u16, lsn u64.
    Log = 0,
    /// Folded states: shard group u16, view u32, group key.
    Base = 1,
    /// Dots seen per producer: shard group u16, pid 16 bytes (its birth comes first).
    Session = 2,
    /// Running totals: shard group u16.
    Ledger = 3,
    /// Groups per view: shard group u16, view u32.
    View = 4,
    /// What a shard group is: shard group u16; and of the file itself: names.
    Meta = 5,
    /// Catalog commands since the last snapshot: version u64.
    Command = 6,
    /// Catalog snapshots: version u64.
    Catalog = 7,
    /// States that could not be read or merged: shard group u16, view u32, lsn u64, number u32.
    Quarantine = 8,
    /// What counts for a group of a full view beside its states: shard group u16, view u32, group key.
    Weight = 9,
    /// Rows of reference tables: table u32, then the primary key's bytes, or a row number u64.
    Row = 10,
    /// Version and size of reference tables: table u32.
    TableSize = 11,
}

impl Table {
    /// All tables, in the order of their discriminants.
    pub const ALL: [Table; 12] = [
        Table::Log,
        Table::Base,
        Table::Session,
        Table::Ledger,
        Table::View,
        Table::Meta,
        Table::Command,
        Table::Catalog,
        Table::Quarantine,
        Table::Weight,
        Table::Row,
        Table::TableSize,
    ];

    /// Its name in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Log => "log-1",
            Table::Base => "base-2",
            Table::Session => "session-2",
            Table::Ledger => "ledger-2",
            Table::View => "view-2",
            Table::Meta => "meta-2",
            Table::Command => "command-2",
            Table::Catalog => "catalog-2",
            Table::Quarantine => "quarantine-1",
            Table::Weight => "weight-1",
            Table::Row => "row-2",
            Table::TableSize => "table-2",
        }
    }

    /// True where the file keeps a check behind every value. A damaged log is told by its chain; a row of the base by a
    /// check that its shard group keeps, as it can set one row aside and go on; weights and quarantine decide nothing
    /// that is counted.
    pub const fn is_checked(self) -> bool {
        !matches!(self, Table::Log | Table::Base | Table::Weight | Table::Quarantine)
    }

    /// Its name before values had checks.
    pub(super) const fn unchecked_name(self) -> Option<&'static str> {
        match self {
            Table::Base => Some("base-1"),
            Table::Session => Some("session-1"),
            Table::Ledger => Some("ledger-1"),
            Table::View => Some("view-1"),
            Table::Meta => Some("meta-1"),
            Table::Command => Some("command-1"),
            Table::Catalog => Some("catalog-1"),
            Table::Row => Some("row-1"),
            Table::TableSize => Some("table-1"),
            Table::Log | Table::Weight | Table::Quarantine => None,
        }
    }

    pub(super) const fn definition(self) -> Definition {
        TableDefinition::new(self.name())
    }
}

/// Tables of the data file.
pub const HUB_TABLES: &[Table] = &[
    Table::Log,
    Table::Base,
    Table::Session,
    Table::Ledger,
    Table::View,
    Table::Meta,
    Table::Quarantine,
    Table::Weight,
];

/// Tables of the catalog file.
pub const CATALOG_TABLES: &[Table] =
    &[Table::Command, Table::Catalog, Table::Meta, Table::Row, Table::TableSize];

/// Key of a log record.
pub fn log_key(group: ShardGroupId, lsn: Lsn) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&group.0.to_be_bytes());
    key[2..].copy_from_slice(&lsn.0.to_be_bytes());
    key
}

/// The first base key of a view; group keys follow it.
pub fn base_prefix(group: ShardGroupId, view: ViewId) -> [u8; 6] {
    view_key(group, view)
}

/// The first base key after a view; `None` behind the very last view.
pub fn base_end(group: ShardGroupId, view: ViewId) -> Option<Vec<u8>> {
    successor(&base_prefix(group, view))
}

/// Key of a producer's session.
pub fn session_key(group: ShardGroupId, pid: &Pid) -> [u8; 18] {
    let mut key = [0; 18];
    key[..2].copy_from_slice(&group.0.to_be_bytes());
    key[2..].copy_from_slice(&pid.0);
    key
}

/// The first session key of producers born at `birth_ms`: older ones sort below it.
pub fn session_birth_key(group: ShardGroupId, birth_ms: u64) -> [u8; 18] {
    session_key(group, &Pid::new(birth_ms.min((1 << 48) - 1), [0; 10]))
}

/// Key of what there is one of per shard group: its ledger, its meta.
pub fn group_key(group: ShardGroupId) -> [u8; 2] {
    group.0.to_be_bytes()
}

/// Key of what there is one of per view and shard group.
pub fn view_key(group: ShardGroupId, view: ViewId) -> [u8; 6] {
    let mut key = [0; 6];
    key[..2].copy_from_slice(&group.0.to_be_bytes());
    key[2..].copy_from_slice(&view.0.to_be_bytes());
    key
}

/// Key of something set aside by the fold that ended at `lsn`; `number` tells such rows apart.
pub fn quarantine_key(group: ShardGroupId, view: ViewId, lsn: Lsn, number: u32) -> [u8; 18] {
    let mut key = [0; 18];
    key[..6].copy_from_slice(&view_key(group, view));
    key[6..14].copy_from_slice(&lsn.0.to_be_bytes());
    key[14..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Reads a [`view_key`] back.
pub fn parse_view_key(key: &[u8]) -> Option<(ShardGroupId, ViewId)> {
    let (group, view) = key.split_first_chunk::<2>()?;
    let view = <[u8; 4]>::try_from(view).ok()?;
    Some((ShardGroupId(u16::from_be_bytes(*group)), ViewId(u32::from_be_bytes(view))))
}

/// Key of a catalog command or snapshot.
pub fn version_key(version: CatalogVersion) -> [u8; 8] {
    version.0.to_be_bytes()
}

/// Key of what there is one of per reference table, and the prefix of its rows' keys.
pub fn table_key(table: TableId) -> [u8; 4] {
    table.0.to_be_bytes()
}

/// Key of a row.
pub fn row_key(table: TableId, row: &[u8]) -> Vec<u8> {
    [&table_key(table)[..], row].concat()
}

/// The smallest byte string above everything that starts with `prefix`; `None` when there is none.
pub fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|&b| b != 0xff)?;
    let mut out = prefix[..=kept].to_vec();
    out[kept] += 1;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_stand_at_their_discriminants_and_have_numbered_names() {
        for (i, table) in Table::ALL.iter().enumerate() {
            assert_eq!(*table as usize, i);
            let number = if table.unchecked_name().is_some() { "-2" } else { "-1" };
            assert!(table.name().ends_with(number));
        }
    }

    /// A table in no file is only missed by those who run on redb: the memory twin has them all.
    #[test]
    fn every_table_is_in_a_file() {
        let is_in = |table: &&Table| HUB_TABLES.contains(table) || CATALOG_TABLES.contains(table);
        assert_eq!(Table::ALL.iter().filter(|table| !is_in(table)).collect::<Vec<_>>(), Vec::<&Table>::new());
    }

    #[test]
    fn key_order_is_number_order() {
        assert!(log_key(ShardGroupId(0), Lsn(255)) < log_key(ShardGroupId(0), Lsn(256)));
        assert!(log_key(ShardGroupId(0), Lsn(u64::MAX)) < log_key(ShardGroupId(1), Lsn(0)));
        let old = session_key(ShardGroupId(3), &Pid::new(999, [255; 10]));
        assert!(old < session_birth_key(ShardGroupId(3), 1000));
        assert_eq!(parse_view_key(&view_key(ShardGroupId(7), ViewId(9))), Some((ShardGroupId(7), ViewId(9))));
    }

    #[test]
    fn a_successor_is_above_every_extension() {
        assert_eq!(successor(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(successor(&[1, 0xff]), Some(vec![2]));
        assert_eq!(successor(&[0xff, 0xff]), None);
    }
}
