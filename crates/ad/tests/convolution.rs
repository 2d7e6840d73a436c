//! Convolutions are what their formula says, of numbers of every type, and go through frames of bytes a block at a time.

mod common;

use ad::{DType, Lowering, Real, Tape, Var, values, vmap, vmap_many};
use common::{assert_close, numbers};
use ndarray::{Array, Array3, Array4, ArrayD, arr1, arr2};

/// Σ_{a, b, c} x[n, i·stride + a, j·stride + b, c] · filters[a, b, c, o], in a loop.
fn by_formula(x: &ArrayD<f64>, filters: &ArrayD<f64>, stride: usize) -> ArrayD<f64> {
    let (&[n, h, w, channels], &[rows, columns, _, o]) = (x.shape(), filters.shape()) else { panic!("four axes each") };
    Array::from_shape_fn([n, (h - rows) / stride + 1, (w - columns) / stride + 1, o], |(n, i, j, o)| {
        let mut sum = 0.0;
        for a in 0..rows {
            for b in 0..columns {
                for c in 0..channels {
                    sum += x[[n, i * stride + a, j * stride + b, c]] * filters[[a, b, c, o]];
                }
            }
        }
        sum
    })
    .into_dyn()
}

#[test]
fn a_convolution_is_the_sum_of_its_formula() {
    let shapes: [([usize; 4], [usize; 4], usize); 9] = [
        ([2, 5, 4, 2], [3, 2, 2, 3], 1),
        ([2, 9, 7, 3], [4, 3, 3, 5], 2),
        // Strides beyond the filters, filters as large as the images, of one pixel, of images of one pixel.
        ([3, 8, 8, 1], [2, 1, 1, 2], 3),
        ([2, 3, 4, 2], [3, 4, 2, 3], 1),
        ([2, 3, 4, 2], [3, 4, 2, 3], 7),
        ([2, 4, 3, 2], [1, 1, 2, 3], 1),
        ([2, 4, 3, 2], [1, 1, 2, 3], 2),
        ([1, 1, 1, 1], [1, 1, 1, 1], 1),
        // In blocks of rows.
        ([300, 9, 8, 2], [3, 3, 2, 4], 2),
    ];
    for (images, of_filters, stride) in shapes {
        let tape = Tape::new();
        // Whole numbers, whose sums are exact.
        let (x, w) = (numbers(&images, -9.0, 9.0).mapv(f64::round), numbers(&of_filters, -9.0, 9.0).mapv(f64::round));
        let result = tape.input("x", &x).conv(tape.input("w", &w), stride);
        let expected = by_formula(&x, &w, stride);
        let name = format!("{images:?} by {of_filters:?} at stride {stride}");
        assert_eq!(result.value(), expected, "{name}");
        let single = |x: &ArrayD<f64>| x.mapv(|x| x as f32);
        let result = tape.input("x", single(&x)).conv(tape.input("w", single(&w)), stride);
        assert_eq!(result.value_as::<f32>(), single(&expected), "{name}");
    }
}

#[test]
fn axes_in_front_of_an_image_are_carried_along() {
    let tape = Tape::new();
    let (x, w) =
        (tape.input("x", numbers(&[6, 5, 4, 2], -1.0, 1.0)), tape.input("w", numbers(&[2, 3, 2, 3], -1.0, 1.0)));
    let result = x.conv(w, 1).value();
    assert_eq!(x.at(0, 4).conv(w, 1).value(), result.index_axis(ndarray::Axis(0), 4).into_owned());
    let grouped = x.reshape(&[2, 3, 5, 4, 2]).conv(w, 1);
    assert_eq!(grouped.shape()[..], [2, 3, 4, 2, 3]);
    assert_eq!(grouped.reshape(&[6, 4, 2, 3]).value(), result);
    assert_close("mapped", &vmap(|x| x.conv(w, 1), x).value(), &result, 1e-15);
}

#[test]
fn patches_are_windows_row_by_row_and_added_back_each_where_it_was() {
    let tape = Tape::new();
    let x = tape.input("x", Array3::from_shape_fn((3, 3, 1), |(i, j, _)| (1 + 3 * i + j) as f64));
    let patches = x.patches([2, 2], 1);
    assert_eq!(patches.shape()[..], [2, 2, 4]);
    let expected =
        arr2(&[[1.0, 2.0, 4.0, 5.0], [2.0, 3.0, 5.0, 6.0], [4.0, 5.0, 7.0, 8.0], [5.0, 6.0, 8.0, 9.0]]).into_dyn();
    assert_eq!(patches.reshape(&[4, 4]).value(), expected);
    // Each pixel as often as there are patches with it.
    let counted = |window: [usize; 2], stride: usize, image: [usize; 2]| {
        let ones = tape.constant(ArrayD::<f64>::ones(vec![image[0], image[1], 1]));
        ones.patches(window, stride).add_patches(window, stride, image).reshape(&image).value()
    };
    assert_eq!(counted([2, 2], 1, [3, 3]), arr2(&[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]).into_dyn());
    assert_eq!(counted([1, 2], 3, [2, 6]), arr2(&[[1.0, 1.0, 0.0, 1.0, 1.0, 0.0], [0.0; 6]]).into_dyn());
    // The channels of a pixel stay together.
    let pixels = tape.input("pixels", Array3::from_shape_fn((1, 3, 2), |(_, j, c)| (10 * j + c) as f64));
    let rows = arr2(&[[0.0, 1.0, 10.0, 11.0], [10.0, 11.0, 20.0, 21.0]]).into_dyn();
    assert_eq!(pixels.patches([1, 2], 1).reshape(&[2, 4]).value(), rows);
}

fn check_special_numbers<T: Real>() {
    let (nan, infinity) = (T::nan(), T::infinity());
    let tape = Tape::new();
    let row = |x: &[f64]| tape.input("x", arr1(x).mapv(T::of)).reshape(&[1, x.len(), 1]);
    let bits = |x: Var| -> Vec<u64> { x.value_as::<T>().iter().map(|x| x.as_f64().to_bits()).collect() };
    let x = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0];
    let taken: Vec<u64> = [0, 1, 1, 2, 2, 3].map(|i| T::of(x[i]).as_f64().to_bits()).into();
    assert_eq!(bits(row(&x).patches([1, 2], 1)), taken);
    // What is added is added: ∞ + 1, −∞ + ∞, and a NaN spoils its own pixel alone.
    let patches = row(&[1.0, f64::INFINITY, 1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]).reshape(&[1, 3, 2]);
    let sums = patches.add_patches([1, 2], 1, [1, 4]).value_as::<T>();
    let sums = sums.as_slice().unwrap();
    assert!(sums[0] == T::one() && sums[1] == infinity && sums[2].is_nan() && sums[3].is_nan(), "{sums:?} {nan}");
    let alone = row(&[1.0, f64::NAN, 2.0]).reshape(&[1, 3, 1]).add_patches([1, 1], 2, [1, 5]).value_as::<T>();
    let alone = alone.as_slice().unwrap();
    assert!(alone[2].is_nan() && [alone[0], alone[1], alone[3], alone[4]] == [1.0, 0.0, 0.0, 2.0].map(T::of));
}

#[test]
fn what_is_not_finite_is_moved_as_it_is_and_added_as_numbers_are() {
    check_special_numbers::<f64>();
    check_special_numbers::<f32>();
}

/// Added in single precision one by one, 2000 times 0.1 is off by 10⁻⁵ and more.
#[test]
fn many_patches_over_one_pixel_keep_the_digits_of_their_sum() {
    let tape = Tape::new();
    let x = tape.input("x", Array4::from_elem([2, 1, 2000, 2000], 0.1_f32));
    let sums = x.add_patches([1, 2000], 1, [1, 3999]).value_as::<f32>();
    for (pixel, &sum) in sums.iter().enumerate() {
        let (n, pixel) = (pixel / 3999, pixel % 3999);
        let terms = (pixel + 1).min(3999 - pixel);
        let expected = terms as f64 * f64::from(0.1_f32);
        assert!((f64::from(sum) / expected - 1.0).abs() <= f64::from(f32::EPSILON) / 2.0, "{n} {pixel}: {sum}");
    }
}

#[test]
fn gradients_of_each_image_are_those_of_the_image_alone() {
    let tape = Tape::new();
    let x = tape.input("x", numbers(&[5, 6, 5, 2], -1.0, 1.0));
    let w = tape.input("w", numbers(&[3, 2, 2, 3], -1.0, 1.0));
    let loss = |x: Var, w: Var| x.conv(w, 2).tanh().square().sum();
    let each = vmap(|x| loss(x, w).grad(w), x);
    let looped: Vec<Var> = (0..5).map(|n| loss(x.at(0, n), w).grad(w)).collect();
    assert_close("by filters", &each.value(), &Var::stack(&looped, 0).value(), 1e-14);
    let total = each.sum_axes(&[0]).value();
    assert_close("and their sum", &loss(x, w).grad(w).value(), &total, 1e-14);
    // Filters of each image its own.
    let filters = tape.input("filters", numbers(&[5, 3, 2, 2, 3], -1.0, 1.0));
    let own = vmap_many(|x| loss(x[0].var(), x[1].var()).grad(x[1].var()), ad::handles![x, filters]);
    let looped: Vec<Var> = (0..5).map(|n| (x.at(0, n), filters.at(0, n))).map(|(x, w)| loss(x, w).grad(w)).collect();
    assert_close("by their own filters", &own.value(), &Var::stack(&looped, 0).value(), 1e-14);
}

/// A convolution of frames' pixels, its bias and a loss; the gradient by both.
fn of_frames(pixels: Var, w: Var, b: Var) -> [Var; 3] {
    let layer = ((pixels.cast(DType::F32) / 255.0).conv(w, 4) + b).max(0.0);
    let loss = layer.square().sum_axes(&[1, 2, 3]).mean();
    [loss, loss.grad(w), loss.grad(b)]
}

#[test]
fn convolutions_of_frames_of_bytes_need_a_block_of_floats() {
    const FRAMES: usize = 200;
    let frames = Array::from_shape_fn((FRAMES, 84, 84, 4), |(n, i, j, c)| (7 * n + 31 * i + j * j + 3 * c) as u8);
    let w = numbers(&[8, 8, 4, 16], -0.1, 0.1).mapv(|x| x as f32);
    let b = numbers(&[16], -0.1, 0.1).mapv(|x| x as f32);
    let tape = Tape::new();
    let inputs = [tape.input("frames", &frames), tape.input("w", &w), tape.input("b", &b)];
    let results = of_frames(inputs[0], inputs[1], inputs[2]);
    let values = values![frames, w, b];
    let bytes = frames.len() + 4 * (w.len() + b.len());
    // Of one frame: floats, patches, and four times what the layer makes of them.
    let frame = 4 * (84 * 84 * 4 + 20 * 20 * 8 * 8 * 4 + 4 * 20 * 20 * 16);
    let program = tape.compile(inputs, results);
    let beyond = program.cost().peak_memory - bytes;
    // Of each of eight chunks: a frame, and its sums in double and in single.
    let blocks = 8 * (frame + 12 * (w.len() + b.len())) + 100_000;
    assert!(beyond < blocks && 4 * blocks < 4 * frames.len(), "{beyond} bytes, not {blocks}: {program}");
    let text = program.to_string();
    assert!(text.contains("cast(frames[rows])") && !text.contains("reshape"), "{text}");
    let off = tape.compile_with(inputs, results, Lowering::Off).run_as::<f32>(&values).unwrap();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| program.run_as::<f32>(&values).unwrap())
    };
    let one = on(1);
    assert!(one == on(2), "the same bits on two threads");
    for (result, off) in one.iter().zip(&off) {
        assert_close("lowered", &result.mapv(f64::from), &off.mapv(f64::from), 1e-5);
    }
}
