//! Outer optimisers: how parameters follow from a gradient that all tasks have given.

mod trust_region;

pub use trust_region::{Judged, TrustRegion};
