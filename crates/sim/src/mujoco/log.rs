//! What MuJoCo says: nothing is written into the user's folder.

#![allow(unsafe_code)]

use std::sync::Once;

use mujoco_rs::prelude::{MjLogMessage, MjtLogLevel, set_log_handler};

/// From now on MuJoCo writes no `MUJOCO_LOG.TXT`. To be called before anything else of MuJoCo is.
pub(super) fn quiet() {
    static ONCE: Once = Once::new();
    // SAFETY: no other thread uses MuJoCo meanwhile: whoever does has come through `Simulation::model` first, which waits here.
    ONCE.call_once(|| unsafe { set_log_handler(hear) });
}

/// Warnings are counted in the data, where [`Simulation`](super::Simulation) finds them. An error ends the process: MuJoCo could
/// not go on.
fn hear(message: &MjLogMessage) {
    if message.level() == MjtLogLevel::mjLOG_ERROR {
        eprintln!("MuJoCo: {}", message.subject());
    }
}
