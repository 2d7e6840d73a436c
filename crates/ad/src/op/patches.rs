//! Convolution: the patches of images, and what adds patches back, which are each other's transpose. A convolution is a
//! matrix product of patches and filters, so that all its derivatives are products, too.
//!
//! Images are `[…, height, width, channels]`; axes in front are carried along.

use super::{Call, Cotangents, Failure, Op, Operand, Rows, Rules, alike, apply};
use crate::dtype::{DType, by_dtype};
use crate::kernel::cast;
use crate::kernel::functions::Number;
use crate::kernel::patches as kernel;
use crate::kernel::reduce::with_scratch;
use crate::tape::{Index, Var, record};
use crate::tensor::{Shape, SliceMut, size};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Patches {
    /// Rows and columns of pixels in a patch.
    pub window: [usize; 2],
    /// Pixels from one patch to the next, either way.
    pub stride: usize,
    pub part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `[…, h, w, c]` ↦ `[…, h′, w′, window·c]`
    Take,
    /// Zeros of so many rows and columns of pixels, with all patches added where they would be taken from.
    Add { image: [usize; 2] },
}

/// A sum of single precision with more terms is taken in double.
const TERMS: usize = 128;

impl Patches {
    /// How many rows and columns of patches an image of so many rows and columns of pixels has.
    fn count(&self, image: [usize; 2]) -> Result<[usize; 2], String> {
        let Self { window, stride, .. } = *self;
        if window.contains(&0) || stride == 0 {
            return Err(format!("a window of {window:?} pixels at stride {stride} (all have to be 1 or more)"));
        }
        if window[0] > image[0] || window[1] > image[1] {
            return Err(format!("a window of {window:?} pixels does not fit into an image of {image:?}"));
        }
        Ok([0, 1].map(|axis| (image[axis] - window[axis]) / stride + 1))
    }

    /// Where the patches of such an image lie, and how many numbers an image and its patches have.
    fn layout(&self, image: &[usize], patches: &[usize]) -> (kernel::Patches, usize, usize) {
        let (image, patches) = (&image[image.len() - 3..], &patches[patches.len() - 3..]);
        let layout = kernel::Patches {
            channels: image[2],
            width: image[1],
            count: [patches[0], patches[1]],
            window: self.window,
            stride: self.stride,
        };
        (layout, size(image), size(patches))
    }
}

impl Rules for Patches {
    fn name(&self) -> &str {
        match self.part {
            Part::Take => "patches",
            Part::Add { .. } => "add_patches",
        }
    }

    fn parameters(&self) -> String {
        format!("window={:?} stride={}", self.window, self.stride)
    }

    fn dtype(&self, operands: &[DType]) -> Result<DType, String> {
        match self.part {
            Part::Take => alike(operands),
            Part::Add { .. } => super::floats(operands),
        }
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, String> {
        let Some((front, &[rows, columns, last])) = operands[0].split_last_chunk() else {
            return Err(format!("shape {:?} has no three axes of rows, columns and numbers", operands[0]));
        };
        let pixels = self.window[0].saturating_mul(self.window[1]);
        Ok(match self.part {
            Part::Take => {
                let [down, across] = self.count([rows, columns])?;
                // No more numbers than the whole image has.
                [front, &[down, across, pixels * last]].concat()
            }
            Part::Add { image } => {
                let count = self.count(image)?;
                if count != [rows, columns] || !last.is_multiple_of(pixels) {
                    return Err(format!(
                        "patches of shape {:?} for images of {image:?} pixels, which have {count:?} patches of {pixels} pixels",
                        operands[0]
                    ));
                }
                [front, &image, &[last / pixels]].concat()
            }
        }
        .into())
    }

    fn vjp(&self, call: &Call, g: Var) -> Cotangents {
        call.one(|| match self.part {
            Part::Take => {
                let shape = call.var(0).shape();
                let rank = shape.len();
                g.add_patches(self.window, self.stride, [shape[rank - 3], shape[rank - 2]])
            }
            Part::Add { .. } => g.patches(self.window, self.stride),
        })
    }

    fn with_leading_axis(&self, _size: usize) -> Op {
        Op::Patches(*self)
    }

    fn rows(&self, operands: &[&[usize]]) -> Option<Rows> {
        Rows::alike(operands).filter(|_| operands[0].len() > 3)
    }

    fn forward(&self, operands: &[Operand<'_>], shape: &[usize], out: SliceMut<'_>) -> Result<(), Failure> {
        let x = operands[0];
        match self.part {
            Part::Take => {
                let (layout, image, patches) = self.layout(x.shape, shape);
                by_dtype!(SliceMut, out, |out| if patches > 0 {
                    let images = x.numbers().chunks_exact(image).zip(out.chunks_exact_mut(patches));
                    images.for_each(|(image, out)| kernel::take(layout, image, out));
                });
            }
            Part::Add { .. } => {
                let (layout, image, patches) = self.layout(shape, x.shape);
                match out {
                    SliceMut::F32(out) if patches > 0 && layout.overlap() > TERMS => with_scratch(image, |sums| {
                        let images = x.numbers::<f32>().chunks_exact(patches).zip(out.chunks_exact_mut(image));
                        for (patches, out) in images {
                            sums.fill(0.0);
                            kernel::add::<f32, f64>(layout, patches, sums);
                            cast::round(sums, SliceMut::F32(out));
                        }
                    }),
                    out => by_dtype!(floats SliceMut, out, |out| add(layout, x.numbers(), patches, out, image)),
                }
            }
        }
        Ok(())
    }

    fn flops(&self, operands: &[&[usize]], _shape: &[usize]) -> usize {
        match self.part {
            Part::Take => 0,
            Part::Add { .. } => size(operands[0]),
        }
    }
}

fn add<T: Number>(layout: kernel::Patches, x: &[T], patches: usize, out: &mut [T], image: usize) {
    out.fill(T::zero());
    if patches > 0 {
        let images = x.chunks_exact(patches).zip(out.chunks_exact_mut(image));
        images.for_each(|(patches, out)| kernel::add(layout, patches, out));
    }
}

macro_rules! patches {
    ($handle:ident) => {
        impl $handle {
            /// The patches of images `[…, h, w, c]`: at each place of a window of rows and columns, which moves by `stride`
            /// pixels either way and never leaves the image, the numbers in it, one row of pixels behind another. The result
            /// is `[…, h′, w′, rows·columns·c]`, where h′ = (h − rows)/stride + 1, rounded down, and w′ alike.
            ///
            /// Elsewhere it is called im2col, or unfold. ([`Var::conv`] is a product with it.)
            #[track_caller]
            #[must_use]
            pub fn patches(self, window: [usize; 2], stride: usize) -> Self {
                self.check_alive();
                let patches = Patches { window, stride, part: Part::Take };
                Self::recorded(self.tape, record(self.tape, Op::Patches(patches), &[self.node]))
            }
        }
    };
}
patches!(Var);
patches!(Index);

impl Var {
    /// Images of so many rows and columns of pixels, 0 but for the patches, each added where [`patches`](Self::patches)
    /// would take it from: its transpose, from `[…, h′, w′, rows·columns·c]` to `[…, h, w, c]`.
    #[track_caller]
    #[must_use]
    pub fn add_patches(self, window: [usize; 2], stride: usize, image: [usize; 2]) -> Self {
        self.check_alive();
        apply(self.tape, Op::Patches(Patches { window, stride, part: Part::Add { image } }), &[self.node])
    }

    /// The convolution of images `[…, h, w, c]` with filters `[rows, columns, c, o]`, as a layer of a network has it: at each
    /// place of the filters, which move by `stride` pixels either way and never leave the image, and for each of o filters,
    ///
    /// out[…, i, j, o] = Σ_{a, b, c} x[…, i·stride + a, j·stride + b, c] · filters[a, b, c, o].
    ///
    /// The result is `[…, h′, w′, o]`, where h′ = (h − rows)/stride + 1, rounded down, and w′ alike. ([`pad`](Self::pad) the
    /// images for results as large as they are.) Frames of bytes are [cast](Self::cast) in front of it:
    ///
    /// ```
    /// use ad::{DType, Tape};
    /// use ndarray::{Array1, Array4};
    /// let tape = Tape::new();
    /// let frames = tape.input("frames", &Array4::<u8>::zeros([32, 84, 84, 4]));
    /// let filters = tape.input("filters", &Array4::<f32>::zeros([8, 8, 4, 16]));
    /// let biases = tape.input("biases", &Array1::<f32>::zeros(16));
    /// let layer = ((frames.cast(DType::F32) / 255.0).conv(filters, 4) + biases).max(0.0);
    /// assert_eq!(layer.shape()[..], [32, 20, 20, 16]);
    /// assert_eq!(layer.mean().grad(filters).shape()[..], [8, 8, 4, 16]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn conv(self, filters: Self, stride: usize) -> Self {
        self.check_same_tape("conv", filters);
        self.check_same_dtype("conv", filters);
        self.check_float("conv");
        let (images, of_filters) = (self.shape(), filters.shape());
        let (&[.., h, w, c], &[rows, columns, channels, o]) = (images.as_slice(), of_filters.as_slice()) else {
            panic!(
                "conv: images of shape {images:?} and filters of shape {of_filters:?} (needs […, height, width, channels] \
                 and [rows, columns, channels, filters])\n  operand made at {}\n  operand made at {}",
                self.location(),
                filters.location()
            )
        };
        let fits = c == channels && (1..=h).contains(&rows) && (1..=w).contains(&columns) && stride > 0;
        assert!(
            fits,
            "conv: images of shape {images:?} and filters of shape {of_filters:?} at stride {stride} do not fit (the \
             channels must be equal, the filters no larger than the images, and the stride 1 or more)\n  operand made at \
             {}\n  operand made at {}",
            self.location(),
            filters.location()
        );
        self.patches([rows, columns], stride).matmul(filters.reshaped(&[rows * columns * c, o]))
    }
}
