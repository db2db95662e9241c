//! What changes a catalog, as it is logged.
//!
//! Bytes of a logged command and of a snapshot: format version u8 (4), then postcard. Variants are append-only.
//! `first` reads format 1, `second` format 2. Format 3 is a part of 4: it had no transforms and no added columns.

use super::first::{FirstCommand, FirstState};
use super::second::SecondState;
use super::state::CatalogState;
use crate::store::StoreError;
use headwater_sql::definition::Ddl;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of the bytes written by [`encode`].
const FORMAT: u8 = 4;
/// Whose bytes [`FORMAT`] reads as they are.
const THIRD: u8 = 3;

/// One entry of the catalog's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Command {
    /// The first command of every catalog.
    Init(Settings),
    /// A checked change of streams, views or tables.
    Ddl(Ddl),
}

/// What all hubs of a cluster share and nobody changes after the first start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The cluster's identity, random.
    pub cluster: [u8; 16],
    /// The first hub's id.
    pub hub: u64,
    /// Shard groups; fixed when the data directory is made, at least 1.
    pub shard_groups: u16,
    /// Secret key of the hash that places producers, random: nobody outside can aim at one shard group.
    pub routing_key: [u8; 16],
}

/// What the catalog stores, in every format that it ever had.
pub(super) trait Entry: Serialize + DeserializeOwned {
    /// As format 1 has it.
    type First: DeserializeOwned + Into<Self>;
    /// As format 2 has it.
    type Second: DeserializeOwned + Into<Self>;
}

impl Entry for Command {
    type First = FirstCommand;
    /// Its changes are a part of today's.
    type Second = Self;
}

impl Entry for CatalogState {
    type First = FirstState;
    type Second = SecondState;
}

pub(super) fn encode<T: Entry>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, vec![FORMAT]).map_err(|e| damaged(&e))
}

pub(super) fn decode<T: Entry>(bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&(FORMAT | THIRD), rest)) => postcard::from_bytes(rest).map_err(|e| damaged(&e)),
        Some((&2, rest)) => postcard::from_bytes::<T::Second>(rest).map(Into::into).map_err(|e| damaged(&e)),
        Some((&1, rest)) => postcard::from_bytes::<T::First>(rest).map(Into::into).map_err(|e| damaged(&e)),
        Some((&found, _)) if found > FORMAT => {
            Err(StoreError::FormatTooNew { found: found.into(), known: FORMAT.into() })
        }
        _ => Err(StoreError::Corrupted("catalog entry has no format".into())),
    }
}

fn damaged(error: &postcard::Error) -> StoreError {
    StoreError::Corrupted(format!("catalog entry: {error}"))
}
