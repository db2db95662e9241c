//! SQL end to end, without a hub: definitions compiled, events rolled up by the sdk, states read back.

mod deep;
mod differential;
mod hostile;
mod hub;
mod limits;
mod slt;
mod speed;
mod statements;
