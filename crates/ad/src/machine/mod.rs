//! What the machine offers: vector instructions ([`simd`]) and threads ([`team`]). The only unsafe code of the crate.

#![allow(unsafe_code)]

pub mod simd;
pub mod team;
