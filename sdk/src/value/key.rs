//! Canonical, order-preserving group key bytes.
