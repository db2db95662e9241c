//! Rows of formats that are read record by record.

use super::block::Block;
use super::faults::{Fault, Faults, Place};
use std::io;

/// Bytes of records after which a block is closed: what a batch can hold comes earlier.
const BLOCK_BYTES: usize = 16 << 20;

/// A cursor over a file's records.
pub(super) trait Records: Send {
    /// Moves to the next record; false at the end.
    fn advance(&mut self) -> io::Result<bool>;

    /// Where the record begins.
    fn place(&self) -> Place;

    /// Bytes of the record.
    fn bytes(&self) -> usize;

    /// Adds the record to a block, whole or not at all.
    fn fill(&self, block: &mut Block<'_>) -> Result<(), Fault>;
}

/// Adds up to `max` records to `block`, and counts those that are no rows in `faults`; gives how many records it
/// passed.
pub(super) fn read(
    records: &mut dyn Records,
    max: usize,
    block: &mut Block<'_>,
    faults: &mut Faults,
) -> io::Result<usize> {
    let (mut passed, mut bytes) = (0, 0);
    while passed < max && bytes < BLOCK_BYTES && records.advance()? {
        passed += 1;
        bytes += records.bytes();
        match records.fill(block) {
            Ok(()) => block.place(records.place()),
            Err(fault) => faults.add(records.place(), &fault),
        }
    }
    Ok(passed)
}
