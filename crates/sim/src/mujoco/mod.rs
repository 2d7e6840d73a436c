//! Locomotion in MuJoCo.
