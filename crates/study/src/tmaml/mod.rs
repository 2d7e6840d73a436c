//! The control variate of Taming MAML, exactly: example `tmaml`.

pub mod experiment;
