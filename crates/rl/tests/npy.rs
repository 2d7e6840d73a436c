//! What NumPy writes is read as what it is, from a folder and from an archive; and whatever else stands there is an error that
//! says what is wrong, without a panic, for no more memory than the bytes that are there are worth.
//!
//! The files in `data/npy` are NumPy's own; `data/npy/write.py` beside them writes them again.

mod memory;

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use ad::Value;
use memory::measured;
use ndarray::{ArrayD, IxDyn, ShapeBuilder, arr0, arr1, array};
use rl::error::{Error, Result};
use rl::rollout::npy::{Fault, Source, Stored};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// NumPy's files.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/npy")
}

fn read(name: &str) -> Stored {
    Source::open(data()).unwrap().read(name).unwrap()
}

/// An empty folder of this name that is gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rl-npy-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A file of these bytes. (A new one: to write over one is to wait for the disk.)
    fn with(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A `.npy` file.
fn npy(descriptor: &str, shape: &str, entries: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), entries].concat()
}

/// An archive.
fn npz(method: CompressionMethod, members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Where a field is in the head of an archive's first member, and in the list at the end.
type Field = (usize, usize);
const FLAGS: Field = (6, 8);
const METHOD: Field = (8, 10);
const CHECKSUM: Field = (14, 16);
const PACKED: Field = (18, 20);
const SIZE: Field = (22, 24);

/// An archive that says something else of its first member, in both places.
fn says(mut archive: Vec<u8>, (head, listed): Field, bytes: &[u8]) -> Vec<u8> {
    let list = position(&archive, b"PK\x01\x02");
    for at in [head, list + listed] {
        archive[at..at + bytes.len()].copy_from_slice(bytes);
    }
    archive
}

fn position(bytes: &[u8], of: &[u8]) -> usize {
    bytes.windows(of.len()).position(|window| window == of).expect("it is there")
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(old)).collect();
    assert!(!places.is_empty() && old.len() == new.len());
    places.into_iter().for_each(|at| bytes[at..at + old.len()].copy_from_slice(new));
    bytes
}

/// The cause of an error about this path.
#[track_caller]
fn fault(error: &Error, path: &Path) -> Fault {
    let Error::File { path: found, cause } = error else { panic!("{error}") };
    assert_eq!(found, path);
    cause.downcast_ref::<Fault>().unwrap_or_else(|| panic!("no fault: {cause:?}")).clone()
}

#[test]
fn every_type_that_numpy_writes_is_held_exactly() {
    let narrow = |low, high| Stored::I32(array![low, high, 0, 1].into_dyn());
    for (name, expected) in [
        ("bool", Stored::Bool(array![[true, false], [false, true]].into_dyn())),
        ("uint8", Stored::U8(array![0, 255, 0, 1].into_dyn())),
        ("int8", narrow(-128, 127)),
        ("int16", narrow(-32_768, 32_767)),
        ("uint16", narrow(0, 65_535)),
        ("int32", narrow(i32::MIN, i32::MAX)),
        ("uint32", Stored::I64(array![0, 4_294_967_295, 0, 1].into_dyn())),
        ("int64", Stored::I64(array![i64::MIN, i64::MAX, 0, 1].into_dyn())),
        ("uint64", Stored::U64(array![0, u64::MAX, 0, 1].into_dyn())),
    ] {
        assert_eq!(read(name), expected, "{name}");
    }
    // Largest, lowest, smallest normal, smallest, −0, ±∞, NaN, 0.1.
    let limits = |most: f64, normal: i32, least: f64, tenth: f64| {
        [most, -most, 2_f64.powi(normal), least, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, tenth]
    };
    for (name, expected) in [
        ("float16", limits(65_504.0, -14, 2_f64.powi(-24), 1638.0 / 16_384.0)),
        ("float32", limits(f32::MAX.into(), -126, f32::from_bits(1).into(), 0.1_f32.into())),
        ("float64", limits(f64::MAX, -1022, f64::from_bits(1), 0.1)),
    ] {
        let stored = read(name);
        assert!(matches!(stored, Stored::F64(_)) == (name == "float64"), "{name}");
        assert!(matches!(stored, Stored::F32(_)) == (name != "float64"), "{name}");
        let found = stored.into_f64().unwrap();
        assert_eq!(found.shape(), [9]);
        let same = |(x, y): (&f64, &f64)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
        assert!(found.iter().zip(&expected).all(same), "{name}: {found}, but {expected:?} was written");
    }
}

#[test]
fn each_of_the_65536_numbers_of_half_precision_is_the_one_that_its_bits_say() {
    let folder = Folder::new("half");
    let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    folder.with("x.npy", npy("<f2", "(65536,)", &bytes));
    let Stored::F32(found) = Source::open(&folder.0).unwrap().read("x").unwrap() else { panic!("single precision") };
    for (bits, &x) in found.iter().enumerate() {
        let (sign, exponent, mantissa) = (bits >> 15, (bits >> 10 & 31) as i32, (bits & 1023) as f64);
        let magnitude = match exponent {
            31 if mantissa == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            0 => mantissa / 1024.0 * 2_f64.powi(-14),
            _ => (1.0 + mantissa / 1024.0) * 2_f64.powi(exponent - 15),
        };
        assert_eq!(x.is_sign_negative(), sign == 1, "{bits:#x}");
        assert!(f64::from(x).abs() == magnitude || x.is_nan() && magnitude.is_nan(), "{bits:#x}: {x}");
    }
}

#[test]
fn either_order_of_bytes_and_of_axes_any_shape_and_every_version_are_read() {
    let count = array![[1, 2, 3], [4, 5, 6]].into_dyn();
    let floats = count.mapv(f64::from);
    let from_zero = ArrayD::from_shape_vec(vec![1, 3, 1, 2, 1], vec![1, 2, 3, 4, 5, 6]).unwrap();
    for (name, expected) in [
        ("big_int16", Stored::I32(count.clone())),
        ("big_uint32", Stored::I64(count.mapv(i64::from))),
        ("big_int64", Stored::I64(count.mapv(i64::from))),
        ("big_float16", Stored::F32(count.mapv(|x| x as f32))),
        ("big_float32", Stored::F32(count.mapv(|x| x as f32))),
        ("big_float64", Stored::F64(floats.clone())),
        ("columns", Stored::I32(count.clone().into_shape_with_order(vec![1, 2, 3]).unwrap())),
        ("columns_big", Stored::F64(floats)),
        ("scalar", Stored::F64(arr0(-2.5).into_dyn())),
        ("scalar_bool", Stored::Bool(arr0(true).into_dyn())),
        ("empty", Stored::F32(ArrayD::zeros(vec![0, 3]))),
        ("five_axes", Stored::U8(from_zero)),
        ("version_1", Stored::I32(array![1, 2, 3, 4, 5, 6].into_dyn())),
        ("version_2", Stored::I32(array![1, 2, 3, 4, 5, 6].into_dyn())),
        ("version_3", Stored::I32(array![1, 2, 3, 4, 5, 6].into_dyn())),
    ] {
        let stored = read(name);
        assert_eq!(stored.shape(), expected.shape(), "{name}");
        assert_eq!(stored, expected, "{name}");
    }
    // NumPy of Python 2.
    let folder = Folder::new("long");
    folder.with("x.npy", npy("<i2", "(2L, 1L)", &[1, 0, 2, 0]));
    assert_eq!(Source::open(&folder.0).unwrap().read("x").unwrap(), Stored::I32(array![[1], [2]].into_dyn()));
}

#[test]
fn other_types_are_refused_by_name_with_those_that_are_read() {
    let mut source = Source::open(data()).unwrap();
    let taken = "but must be bool, int8 to int64, uint8 to uint64, float16, float32 or float64; \
                 in NumPy, x.astype(...) converts them";
    for (name, found) in [
        ("complex64", "complex64"),
        ("complex128", "complex128"),
        ("strings", "of type `<U5`"),
        ("bytes", "of type `|S5`"),
        ("objects", "of type `|O`"),
        ("dates", "of type `<M8[D]`"),
        ("spans", "of type `<m8[ns]`"),
        ("void", "of type `|V4`"),
    ] {
        let message = source.read(name).unwrap_err().to_string();
        assert_eq!(message, format!("{}: its entries are {found}, {taken}", source.place(name).display()));
    }
    let message = source.read("longdouble").unwrap_err().to_string();
    let words = "longdouble.npy: its entries are float128 (longdouble), which other machines write otherwise; \
                 in NumPy, x.astype('float64') converts them";
    assert!(message.ends_with(words), "{message}");
    let message = source.read("structured").unwrap_err().to_string();
    let words =
        "structured.npy: its header is not that of an array of numbers: {'descr': [('state', '<i4'), ('θ', '<f8')]";
    assert!(message.contains(words), "{message}");
    let words = "; entries are bool, int8 to int64, uint8 to uint64, float16, float32 or float64, and the fields of a \
                 structured array are written one by one";
    assert!(message.ends_with(words), "{message}");
}

#[test]
fn archives_hold_the_same_stored_deflated_or_written_to_a_pipe() {
    let observations = ArrayD::from_shape_vec(vec![2, 3, 2, 2], (0..24).collect()).unwrap();
    for name in ["stored.npz", "deflated.npz", "piped.npz"] {
        let mut source = Source::open(data().join(name)).unwrap();
        assert_eq!(source.read("observations").unwrap(), Stored::U8(observations.clone()));
        assert_eq!(source.read("actions").unwrap(), Stored::I64(array![[0, 2], [1, -1]].into_dyn()));
        let Some(Stored::F32(rewards)) = source.find("rewards").unwrap() else { panic!("half precision") };
        assert_eq!(rewards.as_slice().unwrap()[..3], [0.5, -1.0, 2.0]);
        assert!(rewards[[1, 1]].is_nan());
        assert_eq!(source.find("terminated").unwrap(), Some(Stored::Bool(array![true, false].into_dyn())));
        // Again, and out of order.
        assert!(source.find("actions").unwrap().is_some());
        assert_eq!(source.find("lengths").unwrap(), None);
        let message = source.read("lengths").unwrap_err().to_string();
        let words = format!(
            "{name}/lengths.npy: it is not in the archive, which holds observations.npy, actions.npy, rewards.npy, \
             terminated.npy; numpy.savez(path, NAME=x) says what x is called"
        );
        assert!(message.ends_with(&words), "{message}");
    }
    let message = |name: &str| {
        let mut source = Source::open(data().join(name)).unwrap();
        assert_eq!(source.find("states").unwrap(), None);
        source.read("states").unwrap_err().to_string()
    };
    let found = message("positional.npz");
    assert!(
        found.contains("positional.npz/states.npy: it is not in the archive, which holds arr_0.npy, arr_1.npy;"),
        "{found}"
    );
    let found = message("nothing.npz");
    assert!(found.contains("nothing.npz/states.npy: it is not in the archive, which holds nothing;"), "{found}");
    let folder = Folder::new("many");
    let names: Vec<String> = (0..13).map(|i| format!("arr_{i}.npy")).collect();
    let members: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, &b""[..])).collect();
    let many = folder.with("many.npz", npz(CompressionMethod::Stored, &members));
    let found = Source::open(many).unwrap().read("x").unwrap_err().to_string();
    assert!(found.contains("arr_8.npy, arr_9.npy, 3 more; numpy"), "{found}");
}

#[test]
fn what_is_neither_a_folder_nor_an_archive_is_said_to_be_what_it_is() {
    let folder = Folder::new("neither");
    let error = |path: &Path| fault(&Source::open(path).unwrap_err(), path);
    let missing = folder.0.join("missing.npz");
    assert_eq!(error(&missing), Fault::Nothing);
    assert_eq!(
        Source::open(&missing).unwrap_err().to_string(),
        format!(
            "{}: there is nothing; give a folder of NAME.npy files, or an .npz archive as numpy.savez(path, NAME=x) writes it",
            missing.display()
        )
    );
    for (name, bytes) in [
        ("nothing.npz", &b""[..]),
        ("text.npz", b"PK, and then no archive"),
        ("array.npy", &npy("<f8", "(1,)", &[0; 8])),
        ("prefix.npz", &[b"#!", &npz(CompressionMethod::Stored, &[])[..]].concat()),
    ] {
        assert_eq!(error(&folder.with(name, bytes)), Fault::NoArchive, "{name}");
    }
    let message = Source::open(folder.0.join("text.npz")).unwrap_err().to_string();
    let words =
        "text.npz: neither a folder of NAME.npy files nor an .npz archive, which numpy.savez(path, NAME=x) writes";
    assert!(message.ends_with(words), "{message}");

    fs::create_dir(folder.0.join("x.npy")).unwrap();
    let mut source = Source::open(&folder.0).unwrap();
    assert_eq!(source.find("y").unwrap(), None);
    assert_eq!(fault(&source.find("x").unwrap_err(), &folder.0.join("x.npy")), Fault::NoFile("folder"));
    let message = source.read("y").unwrap_err().to_string();
    assert!(message.starts_with(&format!("{}: ", folder.0.join("y.npy").display())), "{message}");
    #[cfg(unix)]
    {
        for name in ["link.npz", "link.npy"] {
            std::os::unix::fs::symlink("elsewhere", folder.0.join(name)).unwrap();
        }
        assert_eq!(error(&folder.0.join("link.npz")), Fault::DanglingLink("elsewhere".into()));
        let found = fault(&source.find("link").unwrap_err(), &folder.0.join("link.npy"));
        assert_eq!(found, Fault::DanglingLink("elsewhere".into()));
        // What the link points to may be anything that can be read.
        std::os::unix::fs::symlink(data().join("deflated.npz"), folder.0.join("good.npz")).unwrap();
        assert!(Source::open(folder.0.join("good.npz")).unwrap().find("rewards").unwrap().is_some());
        for name in ["pipe.npz", "pipe.npy"] {
            assert!(std::process::Command::new("mkfifo").arg(folder.0.join(name)).status().unwrap().success());
        }
        assert_eq!(error(&folder.0.join("pipe.npz")), Fault::NoFile("pipe or device"));
        let found = fault(&source.find("pipe").unwrap_err(), &folder.0.join("pipe.npy"));
        assert_eq!(found, Fault::NoFile("pipe or device"));
    }
}

#[test]
fn damaged_archives_are_errors_that_say_what_is_damaged() {
    let folder = Folder::new("damaged");
    let numbers: Vec<u8> = (0..100_i64).flat_map(|x| (x * x).to_le_bytes()).collect();
    let x = npy("<i8", "(100,)", &numbers);
    let stored = npz(CompressionMethod::Stored, &[("x.npy", &x)]);
    let deflated = npz(CompressionMethod::Deflated, &[("x.npy", &x)]);
    let two = npz(CompressionMethod::Stored, &[("x.npy", &x), ("y.npy", &x)]);
    let expected = Stored::I64((0..100).map(|x| x * x).collect::<ndarray::Array1<i64>>().into_dyn());
    for archive in [&stored, &deflated, &two] {
        let path = folder.with("sound.npz", archive);
        assert_eq!(Source::open(path).unwrap().read("x").unwrap(), expected);
    }
    let size = |size: usize| (size as u32).to_le_bytes();
    let flipped = |archive: &[u8], at: usize| {
        let mut archive = archive.to_vec();
        archive[at] ^= 1;
        archive
    };
    let list = position(&stored, b"PK\x01\x02");
    // More numbers come than the array in the archive asks for, and fewer, where the lists say that it is as it should be.
    let longer = npz(CompressionMethod::Deflated, &[("x.npy", &replaced(&x, b"(100,)", b"(10,) "))]);
    let longer = says(longer, SIZE, &size(x.len() - 90 * 8));
    let shorter = npz(CompressionMethod::Deflated, &[("x.npy", &replaced(&x, b"(100,)", b"(110,)"))]);
    let shorter = says(shorter, SIZE, &size(x.len() + 10 * 8));
    let opened = "damaged.npz: ";
    let found = "damaged.npz/x.npy: ";
    for (what, archive, place, words) in [
        ("a password", says(stored.clone(), FLAGS, &[1, 0]), found, "it is encrypted; write it without a password"),
        ("bzip2", says(stored.clone(), METHOD, &[12, 0]), found, "it is compressed by method 12; numpy.savez stores"),
        (
            "no method",
            says(stored.clone(), METHOD, &[77, 0]),
            found,
            "it is compressed by method 77; numpy.savez stores",
        ),
        ("a name twice", replaced(&two, b"y.npy", b"x.npy"), opened, "the archive has two arrays of the same name"),
        ("a name in the list", flipped(&stored, list + 46), opened, "the archive is damaged (header inconsistency"),
        ("a name before it", flipped(&stored, 30), opened, "the archive is damaged (header inconsistency"),
        ("the list", replaced(&stored, b"PK\x01\x02", b"PK\x01\x03"), opened, "the archive is damaged ("),
        ("its end", replaced(&stored, b"PK\x05\x06", b"PK\x05\x07"), opened, "the archive is damaged ("),
        ("cut off", stored[..stored.len() - 1].to_vec(), opened, "the archive is damaged ("),
        ("cut in half", deflated[..deflated.len() / 2].to_vec(), opened, "the archive is damaged ("),
        ("no list", stored[..list].to_vec(), opened, "the archive is damaged ("),
        ("beyond its end", says(stored.clone(), PACKED, &size(1 << 30)), opened, "the archive is damaged ("),
        (
            "a number",
            flipped(&stored, list - 1),
            found,
            "its bytes in the archive are damaged (Invalid checksum); write it",
        ),
        (
            "the checksum",
            says(deflated.clone(), CHECKSUM, &[0; 4]),
            found,
            "its bytes in the archive are damaged (Inval",
        ),
        (
            "what is deflated",
            replaced(&deflated, &deflated[40..50], &[0xff; 10]),
            found,
            "its bytes in the archive are da",
        ),
        (
            "a smaller size",
            says(stored.clone(), SIZE, &size(x.len() - 8)),
            found,
            "its shape [100] asks for 800 bytes of entri",
        ),
        (
            "a larger size",
            says(deflated.clone(), SIZE, &size(1 << 30)),
            found,
            "its shape [100] asks for 800 bytes of entries",
        ),
        ("more than it says", longer, found, "its bytes in the archive are damaged (File is larger than its declared"),
        ("less than it says", shorter, found, "its bytes in the archive are damaged (they end too early)"),
        (
            "another file",
            npz(CompressionMethod::Stored, &[("x.npy", b"what is this?")]),
            found,
            "no .npy file: it does not",
        ),
        (
            "nothing in it",
            npz(CompressionMethod::Deflated, &[("x.npy", b"")]),
            found,
            "no .npy file: it does not begin",
        ),
    ] {
        let path = folder.with("damaged.npz", &archive);
        let (read, most) = measured(|| Source::open(&path).and_then(|mut source| source.find("x")));
        let message = read.expect_err(what).to_string();
        let expected = format!("{}{words}", folder.0.join(place).display());
        assert!(message.starts_with(&expected), "{what}: {message}");
        assert!(most < BOUND, "{what}: {most} bytes");
    }
}

/// What reading a small archive may hold: the window that is decompressed into, and buffers.
const BOUND: usize = 120_000;

#[test]
fn memory_is_asked_for_as_bytes_come_and_not_as_they_are_claimed() {
    let folder = Folder::new("claims");
    // A header that claims anything.
    let huge = ["(1099511627776,)", "(4294967296, 4294967296)", "(0, 9223372036854775807)", "(1099511627776, 0)"];
    for (shape, descriptor) in huge.iter().flat_map(|shape| ["|b1", "<i2", "<f2", "<f8"].map(|kind| (shape, kind))) {
        let x = npy(descriptor, shape, &[0; 5000]);
        folder.with("x.npy", &x);
        let archive = folder.with("x.npz", npz(CompressionMethod::Deflated, &[("x.npy", &x)]));
        for source in [&folder.0, &archive] {
            let (read, most) = measured(|| Source::open(source).unwrap().find("x"));
            let message = read.unwrap_err().to_string();
            assert!(message.contains("x.npy: its shape ") && message.contains(" asks for "), "{message}");
            assert!(most < BOUND, "{shape}: {most} bytes");
        }
    }
    // And an archive that claims the same: 3 GB, of which 2 MB come.
    let x = npy("<f8", "(400000000,)", &[0; 2_000_000]);
    let claimed = x.len() - 2_000_000 + 3_200_000_000;
    let bomb = npz(CompressionMethod::Deflated, &[("x.npy", &x)]);
    assert!(bomb.len() < 10_000);
    let path = folder.with("bomb.npz", says(bomb, SIZE, &(claimed as u32).to_le_bytes()));
    let (read, most) = measured(|| Source::open(&path).unwrap().find("x"));
    let found = fault(&read.unwrap_err(), &path.join("x.npy"));
    assert_eq!(found, Fault::Damaged("they end too early".to_owned()));
    assert!(most < 4 * 2_000_000 + BOUND, "{most} bytes");
    // What is more than its shape asks for is not decompressed.
    let x = npy("<f8", "(2,)", &[0; 2_000_000]);
    let path = folder.with("bomb.npz", npz(CompressionMethod::Deflated, &[("x.npy", &x)]));
    let (read, most) = measured(|| Source::open(&path).unwrap().find("x"));
    assert!(read.unwrap_err().to_string().contains("its shape [2] asks for 16 bytes of entries, but 2000000 follow"));
    assert!(most < BOUND, "{most} bytes");
    // A list that claims as many arrays as it can: 65 thousand, whatever the file's length is, for each of which there is a place.
    let mut list = npz(CompressionMethod::Stored, &[("x.npy", &[7; 100_000])]);
    let end = list.len() - 22;
    list[end + 8..end + 12].fill(0xfe);
    list[end + 12..end + 16].fill(0x7f);
    let path = folder.with("list.npz", &list);
    let (read, most) = measured(|| Source::open(&path));
    assert!(matches!(fault(&read.unwrap_err(), &path), Fault::Archive(_)));
    assert!(most < 15_000_000, "{most} bytes");

    // A sound one costs what its numbers do, and at most twice that while they come.
    let x = npy("<f8", "(250000,)", &[1; 2_000_000]);
    let path = folder.with("sound.npz", npz(CompressionMethod::Deflated, &[("x.npy", &x)]));
    let (read, most) = measured(|| Source::open(&path).unwrap().read("x").unwrap());
    assert_eq!(read.shape(), [250_000]);
    assert!(most < 4_000_000 + BOUND, "{most} bytes");
    folder.with("x.npy", &x);
    let (_, most) = measured(|| Source::open(&folder.0).unwrap().read("x").unwrap());
    assert!(most < 2_000_000 + 20_000, "{most} bytes");
}

#[test]
fn cut_off_or_flipped_anywhere_files_are_errors_or_what_their_bytes_say() {
    let folder = Folder::new("fuzz");
    let x = npy("<i2", "(2, 3)", &[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 1]);
    let read = |bytes: &[u8]| -> Result<Stored> {
        folder.with("x.npy", bytes);
        let (read, most) = measured(|| Source::open(&folder.0).unwrap().read("x"));
        assert!(most < 20_000, "{most} bytes");
        read.inspect_err(|problem| assert!(problem.to_string().contains("x.npy: "), "{problem}"))
    };
    let expected = Stored::I32(array![[1, 2, 3], [4, 5, 262]].into_dyn());
    assert_eq!(read(&x).unwrap(), expected);
    (0..x.len()).for_each(|length| assert!(read(&x[..length]).is_err(), "{length}"));
    let mut taken = 0;
    for (at, byte) in flips(&x) {
        let mut damaged = x.clone();
        damaged[at] = byte;
        // Whatever header it still is, it says what the bytes behind it are.
        if let Ok(stored) = read(&damaged) {
            let count: usize = stored.shape().iter().product();
            let bytes = if let Stored::I32(_) = stored { 2 } else { panic!("{stored:?}") };
            assert_eq!(count * bytes, 12);
            assert!(
                at >= x.len() - 12 || stored.shape() != [2, 3] || stored == expected || damaged[at] == b'>',
                "{at}"
            );
            taken += 1;
        }
    }
    assert!(taken > 12 * 9, "{taken}");

    for name in ["stored.npz", "deflated.npz", "piped.npz"] {
        let sound = fs::read(data().join(name)).unwrap();
        let read = |bytes: &[u8]| -> Result<Vec<Option<Stored>>> {
            let path = folder.with("x.npz", bytes);
            let (read, most): (Result<Vec<_>>, usize) = measured(|| {
                let mut source = Source::open(&path)?;
                ["actions", "terminated"].map(|name| source.find(name)).into_iter().collect()
            });
            assert!(most < 8 * sound.len() + BOUND, "{most} bytes");
            read.inspect_err(|problem| assert!(problem.to_string().contains("x.npz"), "{problem}"))
        };
        let expected = read(&sound).unwrap();
        assert!(expected.iter().all(Option::is_some));
        (0..sound.len()).for_each(|length| assert!(read(&sound[..length]).is_err(), "{length}"));
        let mut refused = 0;
        for (at, byte) in flips(&sound) {
            let mut damaged = sound.clone();
            damaged[at] = byte;
            // Checksums and names stand twice in an archive: nothing is lost, and no number is another.
            match read(&damaged) {
                Ok(found) => assert_eq!(found, expected, "byte {at} is {byte:#x}"),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 5 * sound.len(), "{refused} of {}", 10 * sound.len());
    }
}

/// Each byte with one bit flipped, 0, or 255.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let others = |byte: u8| (0..8).map(move |bit| byte ^ (1 << bit)).chain([0, 255]);
    bytes.iter().enumerate().flat_map(move |(at, &byte)| others(byte).map(move |other| (at, other)))
}

#[test]
fn behind_ends_anything_may_stand_and_before_them_integers_have_to_fit() {
    // Two trajectories, of two steps and of one.
    let lengths = [2, 1];
    let counts = |trajectory: usize, step: usize| step < lengths[trajectory];
    let mut stored = Stored::I64(array![[1, 2, i64::MAX], [i32::MIN.into(), 1 << 40, 7]].into_dyn());
    let wrong = stored.clone().into_value().unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "entry [0, 2] is 9223372036854775807, but must be within int32, from -2147483648 to 2147483647"
    );
    stored.zero_unless(counts);
    assert_eq!(stored, Stored::I64(array![[1, 2, 0], [i32::MIN.into(), 0, 0]].into_dyn()));
    assert!(
        matches!(stored.into_value().unwrap(), Value::I32(x) if x == array![[1, 2, 0], [i32::MIN, 0, 0]].into_dyn())
    );

    let mut stored = Stored::U64(array![[1, u64::MAX], [1 << 31, u64::MAX]].into_dyn());
    stored.zero_unless(counts);
    let wrong = stored.into_value().unwrap_err();
    assert!(matches!(&wrong, Fault::Integer { index, value: 18446744073709551615, .. } if *index == [0, 1]), "{wrong}");

    // All that belongs to a step, in either order of axes; and what has fewer axes.
    for fortran in [false, true] {
        let frames = ArrayD::from_elem(IxDyn(&[2, 2, 3, 1]).set_f(fortran), 9_u8);
        let mut stored = Stored::U8(frames);
        stored.zero_unless(counts);
        let Stored::U8(frames) = stored else { unreachable!() };
        assert!(frames.indexed_iter().all(|(at, &x)| x == if counts(at[0], at[1]) { 9 } else { 0 }));
    }
    for (mut stored, expected) in [
        (Stored::Bool(array![true, true].into_dyn()), Stored::Bool(array![true, false].into_dyn())),
        (Stored::F64(arr0(f64::NAN).into_dyn()), Stored::F64(arr0(f64::NAN).into_dyn())),
    ] {
        stored.zero_unless(|trajectory, step| trajectory == 0 && step == 0);
        assert_eq!(format!("{stored:?}"), format!("{expected:?}"));
    }
    let mut stored = Stored::F32(arr0(f32::NAN).into_dyn());
    stored.zero_unless(|_, _| false);
    assert_eq!(stored, Stored::F32(arr0(0.0).into_dyn()));
    let mut empty = Stored::F32(ArrayD::zeros(vec![0, 3]));
    empty.zero_unless(|_, _| panic!("there is none"));
}

#[test]
fn a_tape_takes_each_type_as_one_of_its_four() {
    for (name, dtype) in [
        ("bool", ad::DType::U8),
        ("uint8", ad::DType::U8),
        ("int8", ad::DType::I32),
        ("uint16", ad::DType::I32),
        ("int32", ad::DType::I32),
        ("float16", ad::DType::F32),
        ("float32", ad::DType::F32),
        ("float64", ad::DType::F64),
    ] {
        let stored = read(name);
        let shape = stored.shape().to_vec();
        let value = stored.into_value().unwrap();
        assert_eq!((value.dtype(), value.shape()), (dtype, &shape[..]), "{name}");
    }
    let bools = read("bool").into_value().unwrap().into_array::<u8>();
    assert_eq!(bools, Some(array![[1, 0], [0, 1]].into_dyn()));
    for (name, value, index) in
        [("uint32", "4294967295", 1), ("int64", "-9223372036854775808", 0), ("uint64", "1844", 1)]
    {
        let message = read(name).into_value().unwrap_err().to_string();
        assert!(message.starts_with(&format!("entry [{index}] is {value}")), "{message}");
    }
    let fits = Stored::U64(array![0, 2_147_483_647].into_dyn()).into_value().unwrap().into_array::<i32>();
    assert_eq!(fits, Some(array![0, i32::MAX].into_dyn()));
}

#[test]
fn integers_that_double_precision_would_round_are_refused() {
    for (name, expected) in [
        ("bool", array![[1.0, 0.0], [0.0, 1.0]].into_dyn()),
        ("uint8", array![0.0, 255.0, 0.0, 1.0].into_dyn()),
        ("int16", array![-32_768.0, 32_767.0, 0.0, 1.0].into_dyn()),
        ("uint32", array![0.0, 4_294_967_295.0, 0.0, 1.0].into_dyn()),
    ] {
        assert_eq!(read(name).into_f64().unwrap(), expected, "{name}");
    }
    let two_53 = 1_i64 << 53;
    let exact = [two_53, -two_53, two_53 + 2, 1 << 60, i64::MIN, 0];
    let found = Stored::I64(arr1(&exact).into_dyn()).into_f64().unwrap();
    let expected = [2_f64.powi(53), -2_f64.powi(53), 2_f64.powi(53) + 2.0, 2_f64.powi(60), -2_f64.powi(63), 0.0];
    assert_eq!(found, arr1(&expected).into_dyn());
    assert!(Stored::U64(arr0(1 << 63).into_dyn()).into_f64().unwrap() == arr0(2_f64.powi(63)).into_dyn());
    for x in [two_53 + 1, -two_53 - 1, i64::MAX, (1 << 60) + 1] {
        let message = Stored::I64(array![[0, 0], [x, 0]].into_dyn()).into_f64().unwrap_err().to_string();
        let words =
            "but must be one that float64 has exactly, as all up to 2^53; in NumPy, x.astype('float64') rounds them";
        assert_eq!(message, format!("entry [1, 0] is {x}, {words}"));
    }
    for x in [(1 << 53) + 1, u64::MAX] {
        let wrong = Stored::U64(arr0(x).into_dyn()).into_f64().unwrap_err();
        assert!(
            matches!(&wrong, Fault::Integer { index, value, .. } if index.is_empty() && *value == x.into()),
            "{wrong}"
        );
    }
}

#[test]
fn lengths_are_integers_of_any_type_and_truth_values_bools() {
    for (name, expected) in [
        ("uint8", array![0, 255, 0, 1]),
        ("int8", array![-128, 127, 0, 1]),
        ("uint32", array![0, 4_294_967_295, 0, 1]),
        ("int64", array![i64::MIN, i64::MAX, 0, 1]),
    ] {
        assert_eq!(read(name).into_i64().unwrap(), expected.into_dyn(), "{name}");
    }
    let message = read("uint64").into_i64().unwrap_err().to_string();
    let words = "but must be within int64, which ends at 9223372036854775807";
    assert_eq!(message, format!("entry [1] is 18446744073709551615, {words}"));
    for (name, found) in
        [("float16", "floating-point numbers"), ("float64", "floating-point numbers"), ("bool", "bool")]
    {
        let message = read(name).into_i64().unwrap_err().to_string();
        let words = "but must be integers (int8 to int64 or uint8 to uint64); in NumPy, x.astype(...) converts them";
        assert_eq!(message, format!("its entries are {found}, {words}"));
    }
    assert_eq!(read("bool").into_bool().unwrap(), array![[true, false], [false, true]].into_dyn());
    for (name, found) in [("float32", "floating-point numbers"), ("uint8", "integers"), ("uint64", "integers")] {
        let message = read(name).into_bool().unwrap_err().to_string();
        assert_eq!(
            message,
            format!("its entries are {found}, but must be bool; in NumPy, x.astype(...) converts them")
        );
    }
    let folder = Folder::new("bools");
    folder.with("x.npy", npy("|b1", "(2, 2)", &[0, 1, 1, 2]));
    let wrong = Source::open(&folder.0).unwrap().find("x").unwrap_err();
    assert_eq!(fault(&wrong, &folder.0.join("x.npy")), Fault::Bool { entry: 3, byte: 2 });
}
