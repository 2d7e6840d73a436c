//! What the estimators claim, and the identities between them: example `identities`.

pub mod samplewise;
