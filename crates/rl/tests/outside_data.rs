//! Files from outside may be anything. Whatever they are, reading them is an error that says what is wrong, or it is what
//! the bytes say; and it costs no more memory than a few times their size.

mod memory;

use std::fs;
use std::path::{Path, PathBuf};

use ad::Value;
use memory::measured;
use ndarray::{Array1, Array2, ArrayD, IxDyn, ShapeBuilder, arr1, array};
use ndarray_npy::{ReadNpyExt, ReadableElement, WritableElement, WriteNpyExt, write_npy};
use rand::{Rng, RngExt};
use rl::error::{Error, Result};
use rl::optim::{Optimiser, Rule};
use rl::rollout::Rollout;
use rl::rollout::npy::{Fault, Source, Stored};
use rl::stream::stream;

/// An empty folder of this name that is gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("outside-data-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.npy"))
    }

    /// The array of a name.
    fn read(&self, name: &str) -> Result<Stored> {
        Source::open(&self.0).unwrap().read(name)
    }

    /// Removes whatever is at a path.
    fn clear(&self, name: &str) {
        let path = self.file(name);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const NAMES: [&str; 5] = ["states", "actions", "rewards", "lengths", "terminated"];

/// Two trajectories of up to three steps.
fn rollout() -> Rollout {
    Rollout::new(
        array![[0, 1, 2, 3], [3, 1, 0, 0]],
        array![[1, 0, 1], [0, 1, 0]],
        array![[0.5, 1.5, -2.0], [-1.0, 2.0, 0.0]],
        vec![3, 2],
        vec![false, true],
    )
    .unwrap()
}

/// A file of these bytes of entries, whose header says what it is told to.
fn file(version: u8, header: &str, length: Option<u32>, entries: &[u8]) -> Vec<u8> {
    let header = format!("{header}\n");
    let length = length.unwrap_or(header.len() as u32).to_le_bytes();
    let length = if version == 1 { &length[..2] } else { &length };
    [b"\x93NUMPY", &[version, 0][..], length, header.as_bytes(), entries].concat()
}

fn header(descriptor: &str, fortran_order: &str, shape: &str) -> String {
    format!("{{'descr': {descriptor}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}")
}

fn bytes_of<A: WritableElement, D: ndarray::Dimension>(array: &ndarray::Array<A, D>) -> Vec<u8> {
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).unwrap();
    bytes
}

#[test]
fn types_and_shapes_that_are_not_taken_are_named_with_those_that_are() {
    let folder = Folder::new("types");
    let message = || Rollout::from_npy(&folder.0).unwrap_err().to_string();
    rollout().to_npy(&folder.0).unwrap();
    for (descriptor, size, name) in
        [("'<c16'", 16, "complex128"), ("'|S5'", 5, "of type `|S5`"), ("'=i4'", 4, "of type `=i4`")]
    {
        for (file_name, shape, count) in [("states", "(2, 4)", 8), ("actions", "(2, 3)", 6), ("rewards", "(2, 3)", 6)] {
            rollout().to_npy(&folder.0).unwrap();
            let bytes = file(1, &header(descriptor, "False", shape), None, &vec![0; size * count]);
            fs::write(folder.file(file_name), bytes).unwrap();
            let (message, taken) =
                (message(), "must be bool, int8 to int64, uint8 to uint64, float16, float32 or float64");
            assert!(message.contains(&format!("{file_name}.npy: its entries are {name}, but {taken}")), "{message}");
        }
    }
    rollout().to_npy(&folder.0).unwrap();
    write_npy(folder.file("terminated"), &arr1(&[0, 1])).unwrap();
    assert!(message().contains("terminated.npy: its entries are integers, but must be bool"), "{}", message());

    for (name, axes) in [("states", "[N, H + 1, …]"), ("actions", "[N, H, …]"), ("rewards", "[N, H]")] {
        rollout().to_npy(&folder.0).unwrap();
        let flat = if name == "rewards" { bytes_of(&arr1(&[0.0; 6])) } else { bytes_of(&arr1(&[0; 6])) };
        fs::write(folder.file(name), flat).unwrap();
        assert!(
            message().contains(&format!("{name}.npy: it has shape [6], but must have the axes {axes}")),
            "{}",
            message()
        );
    }
    rollout().to_npy(&folder.0).unwrap();
    write_npy(folder.file("lengths"), &array![[3], [2]]).unwrap();
    assert!(message().contains("lengths.npy: it has shape [2, 1], but must have the axes [N]"), "{}", message());
}

#[test]
fn a_header_that_lies_is_found_out_before_memory_is_asked_for() {
    let folder = Folder::new("lies");
    rollout().to_npy(&folder.0).unwrap();
    let huge = ["(1099511627776,)", "(1099511627776, 4)", "(4294967296, 4294967296)", "(9223372036854775807, 2)"];
    let empty = ["(0, 9223372036854775807)", "(1099511627776, 0)", "(0, 4611686018427387904, 4611686018427387904)"];
    let long = "(2305843009213693952, 2305843009213693952, 0)";
    for shape in huge.into_iter().chain(empty).chain([long, "(99999999999999999999999, 4)", "(-1, 4)", "(2, 4.0)"]) {
        let bytes = file(1, &header("'<i4'", "False", shape), None, &[0; 5000]);
        fs::write(folder.file("states"), &bytes).unwrap();
        let (read, most) = measured(|| Rollout::from_npy(&folder.0));
        assert!(read.unwrap_err().to_string().contains("states.npy"));
        let (read, any) = measured(|| folder.read("states"));
        assert!(read.is_err() && most.max(any) < 20_000, "{shape}: {most} bytes");
    }
    // Nothing in it, but so many trajectories that what is made for each would not fit.
    for (name, array) in [("states", "(1099511627776, 0)"), ("actions", "(1099511627776, 0)"), ("rewards", "(9, 0)")] {
        fs::write(folder.file(name), file(1, &header("'<i4'", "False", array), None, &[])).unwrap();
    }
    fs::write(folder.file("rewards"), file(1, &header("'<f8'", "False", "(1099511627776, 0)"), None, &[])).unwrap();
    folder.clear("lengths");
    folder.clear("terminated");
    let (read, most) = measured(|| Rollout::from_npy(&folder.0));
    assert!(read.is_err() && most < 20_000, "{most} bytes");

    rollout().to_npy(&folder.0).unwrap();
    let sound = header("'<i4'", "False", "(2, 4)");
    for (version, claimed) in [(1, 65_535), (2, u32::MAX), (2, 10_001), (3, u32::MAX), (2, 1 << 20)] {
        fs::write(folder.file("states"), file(version, &sound, Some(claimed), &[0; 20_000])).unwrap();
        let (read, most) = measured(|| Rollout::from_npy(&folder.0));
        let message = read.unwrap_err().to_string();
        assert!(message.contains(&format!("states.npy: its header claims {claimed} bytes")), "{message}");
        assert!(most < 20_000, "{most} bytes");
    }
    for nested in ["(", "[", "{'descr': (", "-", "((((", "{{"].map(|begin| begin.repeat(9_000 / begin.len())) {
        fs::write(folder.file("states"), file(2, &nested, None, &[0; 32])).unwrap();
        let message = Rollout::from_npy(&folder.0).unwrap_err().to_string();
        assert!(message.contains("states.npy: its header is not that of an array of numbers: "), "{message}");
    }
    let structured = header("[('a', '<i4')]", "False", "(2, 4)");
    fs::write(folder.file("states"), file(1, &structured, None, &[0; 32])).unwrap();
    let message = Rollout::from_npy(&folder.0).unwrap_err().to_string();
    assert!(message.contains("not that of an array of numbers: {'descr': [('a', '<i4')]"), "{message}");
}

#[test]
fn what_is_no_whole_file_is_said_to_be_what_it_is() {
    let folder = Folder::new("no-file");
    let message = || Rollout::from_npy(&folder.0).unwrap_err().to_string();
    let bytes = bytes_of(&rollout().states().to_owned());
    for (bytes, words) in [
        (&bytes[..bytes.len() - 1], "its shape [2, 4] asks for 32 bytes of entries, but 31 follow the header"),
        (&[&bytes[..], &[0]].concat(), "its shape [2, 4] asks for 32 bytes of entries, but 33 follow the header"),
        (&bytes[..100], "its header claims 118 bytes, but 90 can be there"),
        (&bytes[..9], "no .npy file"),
        (&[], "no .npy file: it does not begin as one; write it by numpy.save"),
        (b"PK\x03\x04 an .npz file", "no .npy file"),
        (&[&bytes[..6], &[7, 1], &bytes[8..]].concat(), "version 7.1 of the .npy format is not known"),
    ] {
        rollout().to_npy(&folder.0).unwrap();
        fs::write(folder.file("states"), bytes).unwrap();
        assert!(message().contains(&format!("states.npy: {words}")), "{}", message());
    }
    for name in NAMES {
        rollout().to_npy(&folder.0).unwrap();
        folder.clear(name);
        fs::create_dir(folder.file(name)).unwrap();
        assert!(message().contains(&format!("{name}.npy: no file, but a folder")), "{}", message());
        folder.clear(name);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("elsewhere.npy", folder.file(name)).unwrap();
            let words = format!("{name}.npy: a link to elsewhere.npy, which does not exist");
            assert!(message().contains(&words), "{}", message());
            folder.clear(name);
        }
    }
    rollout().to_npy(&folder.0).unwrap();
    let mut bytes = bytes_of(&arr1(&[true, false]));
    *bytes.last_mut().unwrap() = 2;
    fs::write(folder.file("terminated"), bytes).unwrap();
    assert!(message().contains("terminated.npy: entry 1 is the byte 2, but a bool is 0 or 1"), "{}", message());
    let error = folder.read("terminated").unwrap_err();
    let Error::File { cause, .. } = error else { panic!("{error}") };
    assert!(matches!(cause.downcast_ref(), Some(Fault::Bool { entry: 1, byte: 2 })));
    #[cfg(unix)]
    {
        let fifo = std::process::Command::new("mkfifo").arg(folder.file("pipe")).status();
        if fifo.is_ok_and(|status| status.success()) {
            let error = folder.read("pipe").unwrap_err();
            assert!(error.to_string().contains("no file, but a pipe or device"), "{error}");
        }
    }
}

#[test]
fn either_order_of_bytes_and_of_axes_and_every_version_are_read_as_what_they_are() {
    let folder = Folder::new("orders");
    let expected = array![[1_i64, -2, 3], [40, 50, 1 << 40]];
    let little: Vec<u8> = expected.iter().flat_map(|x| x.to_le_bytes()).collect();
    let big: Vec<u8> = expected.iter().flat_map(|x| x.to_be_bytes()).collect();
    let columns: Vec<u8> = expected.t().iter().flat_map(|x| x.to_be_bytes()).collect();
    let spaced = "{\"shape\" :( 2 ,3, ),'fortran_order':True , 'descr':'>i8'}";
    for (version, header, bytes) in [
        (1, header("'<i8'", "False", "(2, 3)"), little),
        (2, header("'>i8'", "False", "(2, 3)"), big),
        (3, spaced.to_owned(), columns),
    ] {
        fs::write(folder.file("x"), file(version, &header, None, &bytes)).unwrap();
        assert_eq!(folder.read("x").unwrap(), Stored::I64(expected.clone().into_dyn()));
    }
    let reals = [0.1_f32, f32::NAN, f32::NEG_INFINITY];
    let bytes: Vec<u8> = reals.iter().flat_map(|x| x.to_be_bytes()).collect();
    fs::write(folder.file("x"), file(1, &header("'>f4'", "False", "(3,)"), None, &bytes)).unwrap();
    let read = folder.read("x").unwrap().into_f64().unwrap();
    assert!(read.iter().zip(reals).all(|(x, y)| x.to_bits() == f64::from(y).to_bits()));
    fs::write(folder.file("x"), file(1, &header("'<f8'", "False", "()"), None, &2.5_f64.to_le_bytes())).unwrap();
    assert_eq!(folder.read("x").unwrap(), Stored::F64(ndarray::arr0(2.5).into_dyn()));
    // More entries than are read at a time.
    let many = Array2::from_shape_fn((300, 17), |(n, t)| (n * 17 + t) as i32);
    write_npy(folder.file("x"), &many).unwrap();
    assert_eq!(folder.read("x").unwrap(), Stored::I32(many.into_dyn()));
}

#[test]
fn numbers_that_cannot_be_are_named_with_their_file_trajectory_and_step() {
    let folder = Folder::new("numbers");
    let message = || Rollout::from_npy(&folder.0).unwrap_err().to_string();
    type Change = fn(&Folder);
    let cases: [(Change, &str); 9] = [
        (
            |to| write_npy(to.file("states"), &array![[0_i64, 1, 2, 3], [3, 1 << 40, 0, 0]]).unwrap(),
            "states.npy: trajectory 1, step 1: the state is 1099511627776, but must be less than 2^31",
        ),
        (
            |to| write_npy(to.file("states"), &array![[0, 1, 2, -3], [3, 1, 0, 0]]).unwrap(),
            "states.npy: trajectory 0, step 3: the state is -3, but must not be negative",
        ),
        (
            |to| write_npy(to.file("states"), &array![[0_i64, 1, i64::MIN, 3], [3, 1, 0, 0]]).unwrap(),
            "states.npy: trajectory 0, step 2: the state is -9223372036854775808, but must not be negative",
        ),
        (
            |to| write_npy(to.file("actions"), &array![[1, 0, 1], [0, -1, 0]]).unwrap(),
            "actions.npy: trajectory 1, step 1: the action is -1, but must not be negative",
        ),
        (
            |to| write_npy(to.file("rewards"), &array![[0.0, 1.0, f64::NAN], [0.0, 0.0, 0.0]]).unwrap(),
            "rewards.npy: trajectory 0, step 2: the reward is NaN, but must be finite",
        ),
        (
            |to| write_npy(to.file("rewards"), &array![[0.0, 1.0, 2.0], [0.0, f32::NEG_INFINITY, 0.0]]).unwrap(),
            "rewards.npy: trajectory 1, step 1: the reward is -inf, but must be finite",
        ),
        (
            |to| write_npy(to.file("lengths"), &array![3, 4]).unwrap(),
            "lengths.npy: trajectory 1 has length 4, but an episode has between 1 and 3 steps (the horizon)",
        ),
        (|to| write_npy(to.file("lengths"), &array![0, 2]).unwrap(), "lengths.npy: trajectory 0 has length 0"),
        (
            |to| write_npy(to.file("lengths"), &array![3, i64::MAX]).unwrap(),
            "lengths.npy: trajectory 1 has length 9223372036854775807",
        ),
    ];
    for (change, words) in cases {
        rollout().to_npy(&folder.0).unwrap();
        change(&folder);
        assert!(message().contains(words), "{}", message());
    }
    // Behind an end anything may stand.
    write_npy(folder.file("states"), &array![[0_i64, 1, 2, 3], [3, 1, 0, 1 << 40]]).unwrap();
    write_npy(folder.file("rewards"), &array![[0.5, 1.5, -2.0], [-1.0, 2.0, f64::NAN]]).unwrap();
    write_npy(folder.file("lengths"), &array![3, 2]).unwrap();
    assert_eq!(Rollout::from_npy(&folder.0).unwrap(), rollout());
    // A table that is too small.
    let message = rollout().check_within(3, 2).unwrap_err().to_string();
    assert_eq!(message, "trajectory 0, step 3: state 3 is out of range, there are 3 (0 to 3 - 1)");
}

#[test]
fn the_behaviour_policys_log_probabilities_are_those_of_what_was_done() {
    let log_behaviour = |at: [usize; 2], x: f64| {
        let mut all = array![[-0.1, 0.0, -2.0], [-1.0, -300.0, f64::NAN]]; // behind the end of trajectory 1
        all[at] = x;
        rollout().check_log_behaviour(&all)
    };
    assert!(log_behaviour([0, 0], -1.0).is_ok());
    for (at, x, words) in [
        (
            [0, 2],
            0.5,
            "trajectory 0, step 2: log μ is 0.5, but the logarithm of a probability is finite and not positive",
        ),
        ([1, 0], f64::NAN, "trajectory 1, step 0: log μ is NaN, but the logarithm"),
        ([1, 1], f64::INFINITY, "trajectory 1, step 1: log μ is inf, but the logarithm"),
        ([0, 1], f64::NEG_INFINITY, "trajectory 0, step 1: log μ is -inf, but the action was taken"),
    ] {
        let message = log_behaviour(at, x).unwrap_err().to_string();
        assert!(message.starts_with(words), "{message}");
    }
    let error = rollout().check_log_behaviour(&Array2::zeros((2, 4))).unwrap_err();
    assert!(matches!(error, Error::Shape { what: "log_behaviour", .. }));
}

/// The array in a file's bytes, by another reader than the one that is tested. It is asked only about files that the
/// latter took, and wants blanks where Python takes any white space.
fn oracle<A: ReadableElement, D: ndarray::Dimension>(bytes: &[u8]) -> Option<ndarray::Array<A, D>> {
    let mut bytes = bytes.to_vec();
    let length = if bytes[6] == 1 {
        10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))
    } else {
        12 + u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize
    };
    let text = &mut bytes[if length < 12 { 0 } else { 12 }..length - 1];
    text.iter_mut().filter(|byte| byte.is_ascii_whitespace()).for_each(|byte| *byte = b' ');
    ndarray::Array::read_npy(&bytes[..]).ok()
}

/// The entries of a file, of whatever type they are.
enum Entries {
    Integers(ArrayD<i128>),
    Bytes(ArrayD<u8>),
    Single(ArrayD<f32>),
    Double(ArrayD<f64>),
}

fn entries(bytes: &[u8]) -> Option<Entries> {
    fn integers<A: ReadableElement + Copy + Into<i128>>(bytes: &[u8]) -> Option<Entries> {
        oracle::<A, IxDyn>(bytes).map(|array| Entries::Integers(array.mapv(A::into)))
    }
    // Half precision has no type of its own: its bits, as integers.
    let halves = || {
        let at = bytes.windows(4).position(|four| four == b"<f2'")?;
        let bits = oracle::<u16, IxDyn>(&[&bytes[..at], b"<u2'", &bytes[at + 4..]].concat())?;
        let half = |bits: u16| {
            let (sign, exponent, mantissa) = (bits >> 15, i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
            let size = match exponent {
                31 if mantissa > 0.0 => f64::NAN,
                31 => f64::INFINITY,
                0 => mantissa * 2_f64.powi(-14),
                _ => (1.0 + mantissa) * 2_f64.powi(exponent - 15),
            };
            (if sign == 1 { -size } else { size }) as f32
        };
        Some(Entries::Single(bits.mapv(half)))
    };
    (oracle(bytes).map(Entries::Double))
        .or_else(|| oracle(bytes).map(Entries::Single))
        .or_else(|| oracle(bytes).map(Entries::Bytes))
        .or_else(|| oracle::<bool, _>(bytes).map(|array| Entries::Bytes(array.mapv(u8::from))))
        .or_else(|| integers::<i8>(bytes))
        .or_else(|| integers::<i16>(bytes))
        .or_else(|| integers::<u16>(bytes))
        .or_else(|| integers::<i32>(bytes))
        .or_else(|| integers::<u32>(bytes))
        .or_else(|| integers::<i64>(bytes))
        .or_else(|| integers::<u64>(bytes))
        .or_else(halves)
}

/// What the bytes of five files say, where they were taken.
fn said(files: &[Option<Vec<u8>>]) -> Option<Rollout> {
    let lengths: Option<Vec<usize>> = match &files[3] {
        Some(bytes) => match entries(bytes)? {
            Entries::Integers(lengths) => Some(lengths.iter().map(|&length| length as usize).collect()),
            Entries::Bytes(lengths) => Some(lengths.iter().map(|&length| length.into()).collect()),
            _ => return None,
        },
        None => None,
    };
    let rewards = entries(files[2].as_ref()?)?;
    let (count, horizon) = match &rewards {
        Entries::Integers(array) => (array.shape()[0], array.shape()[1]),
        Entries::Bytes(array) => (array.shape()[0], array.shape()[1]),
        Entries::Single(array) => (array.shape()[0], array.shape()[1]),
        Entries::Double(array) => (array.shape()[0], array.shape()[1]),
    };
    let lengths = lengths.unwrap_or_else(|| vec![horizon; count]);
    let terminated = match &files[4] {
        Some(bytes) => oracle::<bool, ndarray::Ix1>(bytes)?.to_vec(),
        None => vec![false; count],
    };
    let inside = |at: &IxDyn, extra: usize| at[1] < lengths[at[0]] + extra;
    // (Behind an end integers may be too large.)
    let narrow = |array: ArrayD<i128>, extra: usize| {
        ArrayD::from_shape_fn(array.raw_dim(), |at| {
            if inside(&at, extra) { i32::try_from(array[&at]).expect("it was taken") } else { 0 }
        })
    };
    let numbers = |bytes: &Option<Vec<u8>>, extra: usize| -> Option<Value<'static>> {
        Some(match entries(bytes.as_ref()?)? {
            Entries::Integers(array) => narrow(array, extra).into(),
            Entries::Bytes(array) => array.into(),
            Entries::Single(array) => array.into(),
            Entries::Double(array) => array.into(),
        })
    };
    let (states, actions) = (numbers(&files[0], 1)?, numbers(&files[1], 0)?);
    let reals =
        |array: ArrayD<f64>| -> Array2<f64> { array.into_dimensionality().expect("two axes, or it was not taken") };
    let rewards = match rewards {
        Entries::Integers(array) => reals(array.mapv(|x| x as f64)),
        Entries::Bytes(array) => reals(array.mapv(f64::from)),
        Entries::Single(array) => reals(array.mapv(f64::from)),
        Entries::Double(array) => reals(array),
    };
    let rewards = Array2::from_shape_fn(rewards.dim(), |(n, t)| if t < lengths[n] { rewards[[n, t]] } else { 0.0 });
    Rollout::new(states, actions, rewards, lengths, terminated).ok()
}

/// Five sound files, of types, versions and orders of axes and bytes that a seed chooses.
fn sound(rng: &mut impl Rng) -> Vec<Option<Vec<u8>>> {
    let (count, horizon) = (rng.random_range(1..5), rng.random_range(1..5));
    let version = rng.random_range(1..4);
    let integers = |shape: &[usize], range: std::ops::Range<i64>, rng: &mut dyn FnMut(std::ops::Range<i64>) -> i64| {
        let wide = rng(0..2) == 1;
        let big = rng(0..2) == 1;
        let fortran = rng(0..2) == 1;
        let descriptor = format!("'{}i{}'", if big { '>' } else { '<' }, if wide { 8 } else { 4 });
        let text = format!("{shape:?}").replace('[', "(").replace(']', if shape.len() == 1 { ",)" } else { ")" });
        let order = if fortran { "True" } else { "False" };
        let count = shape.iter().product::<usize>();
        let entries = (0..count).flat_map(|_| {
            let x = rng(range.clone());
            let bytes = if wide { x.to_le_bytes().to_vec() } else { (x as i32).to_le_bytes().to_vec() };
            if big { bytes.into_iter().rev().collect() } else { bytes }
        });
        let entries: Vec<u8> = entries.collect();
        Some(file(version, &header(&descriptor, order, &text), None, &entries))
    };
    let mut next = |range: std::ops::Range<i64>| rng.random_range(range);
    let mut files = vec![
        integers(&[count, horizon + 1], 0..7, &mut next),
        integers(&[count, horizon], 0..3, &mut next),
        None,
        integers(&[count], 1..horizon as i64 + 1, &mut next),
        Some(bytes_of(&Array1::from_shape_simple_fn(count, || next(0..2) == 1))),
    ];
    let mut real = || next(-1000..1000) as f64 / 8.0;
    let reals = Array2::from_shape_simple_fn((count, horizon).f(), &mut real);
    files[2] = Some(if real() > 0.0 { bytes_of(&reals) } else { bytes_of(&reals.mapv(|x| x as f32)) });
    if real() > 100.0 {
        files[3] = None;
    }
    if real() > 100.0 {
        files[4] = None;
    }
    files
}

/// Damages a file: headers, lengths, types, bytes.
fn damage(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    const SHAPES: [&str; 12] = [
        "()",
        "(0,)",
        "(0, 0)",
        "(1099511627776, 0)",
        "(0, 9223372036854775807)",
        "(2, 3)",
        "(3, 2)",
        "(1099511627776,)",
        "(4294967296, 4294967296)",
        "(18446744073709551616, 1)",
        "(1, 1, 1)",
        "(-1, 2)",
    ];
    const TYPES: [&str; 12] = [
        "'<i4'",
        "'<i8'",
        "'>i4'",
        "'>i8'",
        "'<f4'",
        "'<f8'",
        "'>f8'",
        "'|b1'",
        "'|u1'",
        "'<u4'",
        "'<f2'",
        "[('a', '<i4')]",
    ];
    let header_end = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| end + 1);
    let some = |rng: &mut dyn FnMut(usize) -> usize, list: &[&str]| list[rng(list.len())].to_owned();
    let mut below = |n: usize| rng.random_range(0..n.max(1));
    match below(9) {
        0 => (0..=below(3)).for_each(|_| {
            let at = below(bytes.len());
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << below(8);
            }
        }),
        1 => (0..=below(3)).for_each(|_| {
            let (at, byte) = (below(header_end), below(256) as u8);
            bytes[at] = byte;
        }),
        2 => bytes.truncate(below(bytes.len())),
        3 => bytes.extend((0..below(20)).map(|_| 0x41_u8)),
        4 => {
            // The header's length: a version 2 with what is claimed.
            let claimed = [0, 1, 50, 117, 118, 10_000, 65_535, 1 << 20, u32::MAX][below(9)];
            let sound = header(&some(&mut below, &TYPES), "False", "(2, 3)");
            *bytes = file([1, 2, 3][below(3)], &sound, Some(claimed), &bytes[header_end..]);
        }
        5 | 6 => {
            let text = header(&some(&mut below, &TYPES), ["True", "False", "1"][below(3)], &some(&mut below, &SHAPES));
            *bytes = file([1, 2, 3, 4][below(4)], &text, None, &bytes[header_end..]);
        }
        7 => {
            // An entry, or part of one.
            let (from, x) = (header_end + below(bytes.len() - header_end), [0x00_u8, 0xff, 0x7f, 0x80][below(4)]);
            bytes[from..].iter_mut().take(8).for_each(|byte| *byte = x);
        }
        _ => {
            let at = below(bytes.len());
            let piece: Vec<u8> = bytes[at..].iter().take(below(30)).copied().collect();
            let to = below(bytes.len());
            bytes.splice(to..to, piece);
        }
    }
}

#[test]
fn damaged_files_are_errors_or_what_their_bytes_say_within_a_few_times_their_size() {
    let folder = Folder::new("damaged");
    let (mut taken, mut refused) = (0, 0);
    for round in 0..4000 {
        let rng = &mut stream(1107, round);
        let mut files = sound(rng);
        // One in ten rounds is whole.
        if round % 10 != 0 {
            let chosen = &mut files[rng.random_range(0..5)];
            if let Some(bytes) = chosen {
                damage(bytes, rng);
            }
        }
        for (name, bytes) in NAMES.iter().zip(&files) {
            folder.clear(name);
            bytes.iter().for_each(|bytes| fs::write(folder.file(name), bytes).unwrap());
        }
        let (read, most): (Result<Rollout>, usize) = measured(|| Rollout::from_npy(&folder.0));
        let size: usize = files.iter().flatten().map(Vec::len).sum();
        assert!(most < 8 * size + 20_000, "round {round}: {most} bytes for files of {size}");
        match read {
            Ok(rollout) => {
                assert_eq!(Some(rollout), said(&files), "round {round}");
                taken += 1;
            }
            Err(problem) => {
                assert!(round % 10 != 0, "round {round}: {problem}");
                assert!(problem.to_string().contains("damaged"), "round {round}: {problem}"); // the folder's name
                refused += 1;
            }
        }
    }
    assert!(taken > 700 && refused > 2000, "{taken} taken, {refused} refused");
}

/// All numbers as `f64`, so that 1 and 1.0 are equal.
fn normal(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value::{Array, Number, Object};
    match value {
        Number(x) => serde_json::json!(x.as_f64()),
        Array(entries) => Array(entries.iter().map(normal).collect()),
        Object(entries) => Object(entries.iter().map(|(key, value)| (key.clone(), normal(value))).collect()),
        other => other.clone(),
    }
}

#[test]
fn a_damaged_optimiser_is_an_error_or_what_its_text_says_and_makes_finite_steps() {
    let saved = |rule: Rule, steps: usize| {
        let (mut x, mut y) = (arr1(&[0.4, -0.3]).into_dyn(), array![[0.25]].into_dyn());
        let mut optimiser = Optimiser::new(rule);
        for _ in 0..steps {
            let gradients = [x.clone(), y.clone()];
            let mut parameters = [x, y];
            optimiser.step_all(&mut parameters, &gradients).unwrap();
            [x, y] = parameters;
        }
        serde_json::to_string(&optimiser).unwrap()
    };
    let texts = [saved(Rule::adam(0.1), 0), saved(Rule::adam(0.1), 3), saved(Rule::sgd(0.5), 2)];
    let pieces =
        ["null", "-1.0", "1e999", "1e308", "0", "18446744073709551615", "NaN", "[", "]", "{}", "\"Sgd\"", "1.5"];
    let (mut taken, mut refused) = (0, 0);
    for round in 0..6000 {
        let rng = &mut stream(1108, round);
        let mut text = texts[rng.random_range(0..3)].clone().into_bytes();
        let (at, piece) = (rng.random_range(0..text.len()), pieces[rng.random_range(0..pieces.len())]);
        match rng.random_range(0..5) {
            0 => text[at] = rng.random_range(32..127),
            1 => text.truncate(at),
            2 => drop(text.remove(at)),
            _ => {
                // A number for another.
                let starts =
                    |i: usize| text[i].is_ascii_digit() && !(text[i - 1].is_ascii_digit() || text[i - 1] == b'.');
                let numbers: Vec<usize> = (1..text.len()).filter(|&i| starts(i)).collect();
                let from = numbers[rng.random_range(0..numbers.len())];
                let end = (from..text.len()).find(|&i| b",]}:".contains(&text[i])).unwrap_or(text.len());
                text.splice(from..end, piece.bytes());
            }
        }
        let text = String::from_utf8(text).unwrap();
        let (read, most) = measured(|| serde_json::from_str::<Optimiser>(&text));
        assert!(most < 20 * text.len() + 20_000, "round {round}: {most} bytes for {text}");
        let Ok(mut optimiser) = read else {
            refused += 1;
            continue;
        };
        taken += 1;
        let again = serde_json::to_value(&optimiser).unwrap();
        let said: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(normal(&again), normal(&said), "round {round}: {text}");
        let before = [arr1(&[0.4, -0.3]).into_dyn(), array![[0.25]].into_dyn()];
        let mut parameters: [ArrayD<f64>; 2] = before.clone();
        let gradients: [ArrayD<f64>; 2] = [arr1(&[1.0, 0.0]).into_dyn(), array![[-2.0]].into_dyn()];
        let (stepped, _) = measured(|| optimiser.step_all(&mut parameters, &gradients));
        match stepped {
            Ok(()) => assert!(parameters.iter().flatten().all(|x| x.is_finite()), "round {round}: {text}"),
            Err(_) => {
                assert_eq!(parameters, before);
                assert_eq!(normal(&serde_json::to_value(&optimiser).unwrap()), normal(&said));
            }
        }
    }
    assert!(taken > 300 && refused > 2000, "{taken} taken, {refused} refused");
}

/// Whether a path is named in a message, for a file that is missing.
#[test]
fn a_missing_file_or_folder_is_named() {
    let folder = Folder::new("missing");
    for name in ["states", "actions", "rewards"] {
        rollout().to_npy(&folder.0).unwrap();
        folder.clear(name);
        let message = Rollout::from_npy(&folder.0).unwrap_err().to_string();
        let words = if name == "states" { "there is neither `observations` nor `states`" } else { "No such file" };
        assert!(message.contains(&format!("{name}.npy: {words}")), "{message}");
    }
    rollout().to_npy(&folder.0).unwrap();
    fs::copy(folder.file("states"), folder.file("observations")).unwrap();
    for message in [Rollout::from_npy(&folder.0).map(drop), rollout().to_npy(&folder.0)].map(|read| read.unwrap_err()) {
        assert!(message.to_string().contains("both `observations` and `states`"), "{message}");
    }
    let message = Rollout::from_npy(Path::new("/no/such/folder")).unwrap_err().to_string();
    assert!(message.starts_with("/no/such/folder: there is nothing; give a folder"), "{message}");
}
