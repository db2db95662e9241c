//! What changes a catalog, as it is logged.
//!
//! Bytes of a logged command and of a snapshot: format version u8 (1), then postcard. Variants and fields
//! are append-only.

use crate::store::StoreError;
use headwater_sql::definition::Ddl;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version of the bytes written by [`encode`].
const FORMAT: u8 = 1;

/// One entry of the catalog's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Command {
    /// The first command of every catalog.
    Init(Settings),
    /// A checked change of streams or views.
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

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, vec![FORMAT]).map_err(|e| StoreError::Corrupted(format!("catalog entry: {e}")))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => {
            postcard::from_bytes(rest).map_err(|e| StoreError::Corrupted(format!("catalog entry: {e}")))
        }
        Some((&found, _)) if found > FORMAT => {
            Err(StoreError::FormatTooNew { found: found.into(), known: FORMAT.into() })
        }
        _ => Err(StoreError::Corrupted("catalog entry has no format".into())),
    }
}
