//! One loop, compiled for each kind of processor, chosen at run time.
//!
//! There are no vector instructions here: a [`Kernel`] is a plain loop without branches, which the compiler turns into
//! those of the level it compiles it for. For that, all that a kernel calls must be `#[inline(always)]`.

use std::sync::atomic::{AtomicU8, Ordering};

/// What the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of its kind has.
    Portable,
    /// 256-bit vectors and fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

/// A loop, with what it works on.
pub trait Kernel {
    type Output;

    /// Runs it. `FMA`: whether the processor has a fused multiply-add (without, it would be a function call). To be
    /// marked `#[inline(always)]`.
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// The level in use, as a number from 1; 0 before anyone has asked.
static LEVEL: AtomicU8 = AtomicU8::new(0);

impl Level {
    /// The levels of this processor, lowest first.
    pub fn available() -> &'static [Level] {
        const ALL: &[Level] = &[Level::Portable, Level::Avx2, Level::Avx512];
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! has { ($($feature:tt)*) => { $(is_x86_feature_detected!($feature))&&* } }
            let avx2 = has!("avx2" "fma");
            let avx512 = avx2 && has!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl");
            &ALL[..1 + usize::from(avx2) + usize::from(avx512)]
        }
        #[cfg(not(target_arch = "x86_64"))]
        &ALL[..1]
    }

    /// The level in use: the highest, unless [`use_level`](Self::use_level) has said otherwise.
    #[inline]
    pub fn current() -> Level {
        match LEVEL.load(Ordering::Relaxed) {
            0 => Level::detect(),
            1 => Level::Portable,
            2 => Level::Avx2,
            _ => Level::Avx512,
        }
    }

    #[cold]
    fn detect() -> Level {
        Level::available().last().map_or(Level::Portable, |level| level.use_level())
    }

    /// From now on, in all threads, uses this level, or the highest there is below it. For tests and benchmarks.
    pub fn use_level(self) -> Level {
        let available = Level::available().iter().rev().find(|&&level| level <= self);
        let level = available.copied().unwrap_or(Level::Portable);
        LEVEL.store(level as u8 + 1, Ordering::Relaxed);
        level
    }
}

/// Runs a kernel with what the processor has.
#[inline]
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    match Level::current() {
        // SAFETY: `use_level`, the only one to set the level, has found that the processor has these features.
        Level::Avx512 => unsafe { avx512(kernel) },
        // SAFETY: as above.
        Level::Avx2 => unsafe { avx2(kernel) },
        Level::Portable => portable(kernel),
    }
    #[cfg(not(target_arch = "x86_64"))]
    portable(kernel)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<true>()
}

/// Every 64-bit ARM has a fused multiply-add.
fn portable<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<{ cfg!(target_arch = "aarch64") }>()
}
