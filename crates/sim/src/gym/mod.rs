//! Environments of Gymnasium.
