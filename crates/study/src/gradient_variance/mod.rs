//! How much meta-gradients scatter during training, by DiCE and by LVC: example `gradient_variance`.

pub mod experiment;
