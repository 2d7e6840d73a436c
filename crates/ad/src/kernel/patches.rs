//! Patches of images: a window of pixels at each place, as one row of numbers. What is copied at once is a row of a patch:
//! numbers that are neighbours in the image, too.

use super::functions::Number;
use crate::machine::simd::{self, Kernel};
use crate::tensor::Element;

/// Where the patches of an image lie.
#[derive(Clone, Copy)]
pub struct Patches {
    /// Numbers in a pixel.
    pub channels: usize,
    /// Pixels of a row of the image.
    pub width: usize,
    /// Rows and columns of patches.
    pub count: [usize; 2],
    /// Rows and columns of pixels in a patch.
    pub window: [usize; 2],
    /// Pixels from one patch to the next, either way.
    pub stride: usize,
}

impl Patches {
    /// In how many patches a pixel is, at most.
    pub fn overlap(&self) -> usize {
        (0..2).map(|axis| self.window[axis].div_ceil(self.stride).min(self.count[axis])).product()
    }

    /// Numbers in a row of a patch.
    fn run(&self) -> usize {
        self.window[1] * self.channels
    }

    /// Gives `visitor` for each row of all patches, in order, where in the image it begins.
    #[inline(always)]
    fn for_each_run(&self, mut visitor: impl FnMut(usize)) {
        let Patches { channels, width, count: [down, across], window: [rows, _], stride } = *self;
        for i in 0..down {
            for j in 0..across {
                for row in 0..rows {
                    visitor(((i * stride + row) * width + j * stride) * channels);
                }
            }
        }
    }
}

/// out = the patches of an image, which has some entries.
pub fn take<E: Element>(patches: Patches, image: &[E], out: &mut [E]) {
    let run = patches.run();
    let mut out = out.chunks_exact_mut(run);
    patches.for_each_run(|start| {
        if let Some(out) = out.next() {
            out.copy_from_slice(&image[start..start + run]);
        }
    });
}

/// image += patches, each number where it would have been taken from, in the order of the patches.
pub fn add<T: Number, S: Number>(patches: Patches, x: &[T], image: &mut [S]) {
    simd::run(Adding { patches, x, image });
}

struct Adding<'a, T, S> {
    patches: Patches,
    x: &'a [T],
    image: &'a mut [S],
}

impl<T: Number, S: Number> Kernel for Adding<'_, T, S> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Adding { patches, x, image } = self;
        let run = patches.run();
        let mut x = x.chunks_exact(run);
        patches.for_each_run(
            #[inline(always)]
            |start| {
                let to = &mut image[start..start + run];
                to.iter_mut().zip(x.next().unwrap_or_default()).for_each(|(to, &x)| *to += S::of(x.as_f64()));
            },
        );
    }
}
