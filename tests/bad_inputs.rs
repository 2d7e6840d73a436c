//! What unlucky and hostile users do to the examples: options that make no sense, damaged files, folders that cannot be written
//! to, full disks, output that nobody reads, two runs in one folder, runs that are killed.
//!
//! Whatever happens, it ends with the right files, byte for byte, or with an error in words and the files that were there
//! before. `scripts/bad_inputs` tries all cases and prints a table; among the other tests runs every twentieth.
#![cfg(unix)]

mod harness;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use harness::{Case, Ended, Expected, Files, Place, Verdict, elsewhere, files, judge, names, program, shell, try_all};
use rand::{Rng, RngExt};
use rl::stream::stream;
use study::options::{List, increasing, real, whole};
use study::output::{Folder, Output};

/// An example, and options that make it a matter of moments.
#[derive(Clone, Copy)]
struct Example {
    name: &'static str,
    options: &'static [&'static str],
    /// The options that take a whole number, with the least it may be; a number, with the largest; and several.
    whole: &'static [(&'static str, usize)],
    real: &'static [&'static str],
    lists: &'static [&'static str],
    is_study: bool,
}

const SIMPLE: Example = Example { name: "", options: &[], whole: &[], real: &[], lists: &[], is_study: false };
const STUDY: Example = Example { is_study: true, ..SIMPLE };

/// One that compares learners.
const LEARNING: Example = Example { options: &["--quick"], whole: &[("--seeds", 1), ("--iterations", 1)], ..STUDY };

/// Those that write files.
const EXAMPLES: [Example; 21] = [
    Example { name: "first_loss", options: &["--quick"], ..SIMPLE },
    Example { name: "your_estimator", options: &["--quick"], ..SIMPLE },
    Example {
        name: "which_estimator",
        options: &["--quick", "--states=2", "--actions=2", "--horizon=3", "--samples=3,6", "--repeats=3"],
        whole: &[("--states", 1), ("--actions", 2), ("--horizon", 1), ("--repeats", 2)],
        real: &["--gamma", "--distance", "--noise"],
        lists: &["--samples"],
        ..SIMPLE
    },
    Example {
        name: "identities",
        options: &["--quick", "--horizon=1"],
        whole: &[("--states", 2), ("--actions", 2), ("--horizon", 1)],
        ..SIMPLE
    },
    Example { name: "bounds", options: &["--quick", "--problems=2"], whole: &[("--problems", 1)], ..SIMPLE },
    Example {
        name: "hessian_bias",
        options: &["--quick", "--states=3", "--actions=2", "--mdps=6", "--samples=4", "--horizon=4"],
        whole: &[("--states", 1), ("--actions", 2), ("--mdps", 1), ("--horizon", 1)],
        lists: &["--samples", "--epsilon"],
        ..STUDY
    },
    Example {
        name: "gradient_variance",
        options: &[
            "--quick",
            "--runs=3",
            "--iterations=2",
            "--every=1",
            "--rounds=2",
            "--tasks=2",
            "--rollouts=3",
            "--horizon=10",
        ],
        whole: &[
            ("--runs", 2),
            ("--iterations", 1),
            ("--every", 1),
            ("--rounds", 2),
            ("--tasks", 1),
            ("--rollouts", 2),
            ("--horizon", 1),
        ],
        ..STUDY
    },
    Example {
        name: "lsf_navigation",
        options: &[
            "--quick",
            "--problems=2",
            "--rounds=20",
            "--outer=20",
            "--samples=2,4",
            "--runs=2",
            "--iterations=1",
            "--horizon=5",
        ],
        whole: &[
            ("--problems", 2),
            ("--rounds", 8),
            ("--outer", 1),
            ("--runs", 2),
            ("--iterations", 1),
            ("--horizon", 1),
        ],
        lists: &["--samples"],
        ..STUDY
    },
    Example {
        name: "loaded_dice",
        options: &["--quick", "--mdps=2", "--batches=8,16", "--seeds=3", "--sweep-seeds=3"],
        whole: &[("--mdps", 1), ("--seeds", 3), ("--sweep-seeds", 3)],
        lists: &["--batches"],
        ..STUDY
    },
    Example {
        name: "meta_gradient_bias",
        options: &["--quick", "--mdps=8", "--repeats=2"],
        whole: &[("--mdps", 1), ("--more", 1), ("--repeats", 2)],
        ..STUDY
    },
    Example {
        name: "intrinsic_reward",
        options: &["--quick", "--mdps=12", "--samples=8,16"],
        whole: &[("--mdps", 1), ("--repeats", 2)],
        lists: &["--samples"],
        ..STUDY
    },
    Example {
        name: "lola_ipd",
        options: &["--quick", "--seeds=4", "--ablations=2", "--updates=10", "--batch=4", "--large-batch=8"],
        whole: &[("--seeds", 1), ("--ablations", 1), ("--updates", 1), ("--batch", 1), ("--large-batch", 2)],
        ..STUDY
    },
    Example {
        name: "score_function_1d",
        options: &["--repeats=200", "--estimates=200", "--steps=20", "--samples=1,5,20", "--batch=1,2"],
        whole: &[("--repeats", 20), ("--estimates", 20), ("--steps", 1)],
        lists: &["--samples", "--batch"],
        ..STUDY
    },
    Example { name: "exploration", ..LEARNING },
    Example { name: "maml_navigation", ..LEARNING },
    Example { name: "promp_corner", ..LEARNING },
    Example { name: "sgmrl_navigation", ..LEARNING },
    Example { name: "taypo_promp", ..LEARNING },
    Example {
        name: "credit_assignment_1d",
        options: &[
            "--quick",
            "--runs=3",
            "--iterations=4",
            "--tasks=1",
            "--trajectories=3",
            "--rates=0.01,0.1",
            "--estimates=5",
        ],
        whole: &[("--runs", 1), ("--iterations", 1), ("--tasks", 1), ("--trajectories", 2), ("--estimates", 2)],
        lists: &["--rates"],
        ..STUDY
    },
    Example {
        name: "step_or_trajectory",
        options: &["--quick", "--mdps=6", "--horizon=2", "--sets=3", "--estimates=20", "--samples=1,5"],
        whole: &[("--mdps", 1), ("--horizon", 2), ("--sets", 2), ("--estimates", 2)],
        lists: &["--samples"],
        ..STUDY
    },
    Example {
        name: "tmaml",
        options: &["--quick", "--mdps=12", "--horizon=2"],
        whole: &[("--mdps", 1), ("--horizon", 1)],
        ..STUDY
    },
];

impl Example {
    fn command(self, out: &Path, seed: u64) -> Command {
        let mut command = program(self.name);
        command.args(self.options).arg(format!("--seed={seed}")).arg("--out").arg(out);
        command
    }

    /// The files of an unbroken run.
    fn right(self, seed: u64) -> Arc<Files> {
        type Once = Arc<OnceLock<Arc<Files>>>;
        static KNOWN: Mutex<BTreeMap<(&str, u64), Once>> = Mutex::new(BTreeMap::new());
        let known = KNOWN.lock().unwrap().entry((self.name, seed)).or_default().clone();
        let run = || {
            let place = Place::new();
            let ended = Ended::of(self.command(&place.out(), seed));
            assert!(ended.status.success(), "{}: {}", self.name, ended.errors);
            Arc::new(place.files())
        };
        known.get_or_init(run).clone()
    }
}

impl Place {
    fn parts(&self) -> PathBuf {
        self.out().join("finished.txt")
    }
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(
        &mut self,
        kind: &'static str,
        what: impl Into<String>,
        attempt: impl Fn(&Place) -> Verdict + Send + Sync + 'static,
    ) {
        self.0.push(Case::new(kind, what, attempt));
    }

    fn all() -> Self {
        let mut cases = Self::default();
        cases.options();
        cases.contradictions();
        cases.folders();
        cases.full_disks();
        cases.closed_outputs();
        cases.arrays();
        cases.damaged_parts();
        cases.parts_of_others();
        cases.two_at_once();
        cases.killed();
        cases
    }

    /// Options that must be refused before anything is written.
    fn refused(&mut self, kind: &'static str, name: &'static str, options: Vec<String>, writes: bool) {
        self.add(kind, format!("{name} {}", options.join(" ")), move |place| {
            let mut command = program(name);
            command.args(&options);
            if writes {
                command.arg("--out").arg(place.out());
            }
            judge(&Ended::of(command), Expected::Refused, &Files::new(), &place.files(), &Files::new())
        });
    }

    fn options(&mut self) {
        const KIND: &str = "options out of range";
        let mut option = |name, option: &str, bad: &[&str], writes| {
            for value in bad {
                self.refused(KIND, name, vec![format!("{option}={value}")], writes);
            }
        };
        for Example { name, whole, real, lists, .. } in EXAMPLES {
            option(name, "--seed", &["-1", "1.5", "seven", "18446744073709551616"], true);
            for (what, least) in whole {
                let less = (least - 1).to_string();
                option(name, what, &[&less, "-1", "1.5", "NaN", "1e3", "", "18446744073709551616"], true);
            }
            for what in real {
                option(name, what, &["NaN", "inf", "-inf", "-0.1", "1e999", "", "much"], true);
            }
            for what in lists {
                let bad = ["", ",", "-3", "NaN", "5,5", "0.5,0.2", "5,", "5;6", "5,six", "99999999999999999999", "inf"];
                option(name, what, &bad, true);
            }
        }
        option("scaling", "--samples", &["", ",", "0", "0,5", "-3", "NaN", "5,5", "9,5", "5;6"], false);
        option("scaling", "--seed", &["-1", "NaN"], false);
        option("hessian_bias", "--samples", &["1", "0,4"], true);
        option("hessian_bias", "--epsilon", &["1", "0,1.5", "-0.1"], true);
        option("hessian_bias", "--sweep", &["", "mdps"], true);
        option("lsf_navigation", "--samples", &["5", "1,5"], true);
        option("gradient_variance", "--env", &["", "cartpole"], true);
        option("which_estimator", "--estimators", &["", "reinforce", "is,", "is,reinforce"], true);
        option("which_estimator", "--estimators=dice_leave_one_out --samples", &["1"], true);
        option("which_estimator", "--samples", &["1"], true);
        option("loaded_dice", "--batches", &[&(1..70).map(|n| n.to_string()).collect::<Vec<_>>().join(",")], true);
        option("identities", "--horizon", &["100"], true);
        for name in EXAMPLES.map(|example| example.name).into_iter().chain(["scaling", "workloads"]) {
            self.refused(KIND, name, vec!["--sead=3".to_owned()], false);
            self.refused(KIND, name, vec!["results".to_owned()], false);
        }
    }

    fn contradictions(&mut self) {
        const KIND: &str = "options against each other";
        let words = |options: &str| options.split(' ').map(str::to_owned).collect();
        for Example { name, .. } in EXAMPLES.into_iter().filter(|example| example.is_study) {
            for options in ["--quick --paper", "--resume --fresh", "--paper --quick --resume", "--seed=1 --seed=2"] {
                self.refused(KIND, name, words(options), true);
            }
        }
        for (name, options) in [
            ("your_estimator", "--sample --rollout examples/data/rollout"),
            ("hessian_bias", "--check"),
            ("hessian_bias", "--sweep epsilon --samples 4,8"),
            ("hessian_bias", "--sweep epsilon --epsilon 0.2,0.5"),
            ("hessian_bias", "--sweep samples --samples 4"),
            ("hessian_bias", "--sweep samples --epsilon 0,0.5"),
            ("score_function_1d", "--check --samples 5"),
            ("lola_ipd", "--quick --batch 8 --large-batch 8"),
            ("step_or_trajectory", "--check --samples 5"),
        ] {
            self.refused(KIND, name, words(options), true);
        }
        for options in [
            "--first",
            "--first --only W2",
            "--first --only W1 --print",
            "--first --only W1 --no-time",
            "--print --no-time",
        ] {
            self.refused(KIND, "workloads", words(&format!("--data tests/golden {options}")), false);
        }
        // What is given holds, also beside --quick and --paper: the files are those of the options alone.
        let explicit = EXAMPLES.into_iter().filter(|example| !matches!(example.name, "first_loss" | "your_estimator"));
        for example in explicit.filter(|example| {
            // (Their sizes are more than can be given.)
            !matches!(
                example.name,
                "identities" | "hessian_bias" | "meta_gradient_bias" | "gradient_variance" | "lsf_navigation"
            )
        }) {
            for size in ["--quick", "--paper"] {
                // (What is left of a paper's size takes long for some: no option says how large their tasks are.)
                let is_long = example.name == "loaded_dice" || example.options == LEARNING.options;
                if size == "--paper" && (!example.is_study || is_long) {
                    continue;
                }
                self.add(KIND, format!("{} with {size}", example.name), move |place| {
                    let mut command = program(example.name);
                    command.args(example.options.iter().filter(|option| **option != "--quick"));
                    if example.name == "intrinsic_reward" {
                        command.arg("--repeats=2");
                    }
                    command.args([size, "--seed=1", "--out"]).arg(place.out());
                    judge(&Ended::of(command), Expected::Right, &Files::new(), &place.files(), &example.right(1))
                });
            }
        }
    }

    fn folders(&mut self) {
        const KIND: &str = "folders";
        type Prepare = fn(&Place, Example) -> PathBuf;
        let cases: [(&str, Prepare); 9] = [
            ("a file", |place, _| {
                fs::write(place.out(), "a file").unwrap();
                place.out()
            }),
            ("in a file", |place, _| {
                fs::write(place.0.join("file"), "a file").unwrap();
                place.0.join("file/out")
            }),
            ("in /proc", |_, _| "/proc/results".into()),
            ("a device", |_, _| "/dev/null".into()),
            ("without a name", |_, _| "".into()),
            ("of a name too long", |place, _| place.0.join("long".repeat(100))),
            ("a link to nowhere", |place, _| {
                symlink("/no/such/folder", place.out()).unwrap();
                place.out()
            }),
            ("with a folder in a file's place", |place, example| {
                place.put(&example.right(2));
                let last = place.files().into_keys().next_back().unwrap();
                fs::remove_file(place.out().join(&last)).unwrap();
                fs::create_dir(place.out().join(&last)).unwrap();
                place.out()
            }),
            ("that may not be written to", |place, example| {
                place.put(&example.right(2));
                fs::set_permissions(place.out(), fs::Permissions::from_mode(0o555)).unwrap();
                place.out()
            }),
        ];
        for example in EXAMPLES {
            for (what, prepare) in cases {
                self.add(KIND, format!("{}: --out {what}", example.name), move |place| {
                    let out = prepare(place, example);
                    if what.ends_with("written to") && File::create(out.join(".try")).is_ok() {
                        // Whoever may do everything.
                        let _ = fs::remove_file(out.join(".try"));
                        return Verdict::Untried;
                    }
                    let before = place.files();
                    let ended = Ended::of(example.command(&out, 1));
                    let verdict = judge(&ended, Expected::Refused, &before, &place.files(), &Files::new());
                    if out.is_dir() {
                        fs::set_permissions(&out, fs::Permissions::from_mode(0o755)).unwrap();
                    }
                    verdict
                });
            }
        }
        for example in EXAMPLES {
            self.add(KIND, format!("{}: --out on a disk that is read only", example.name), move |place| {
                place.put(&example.right(2));
                let before = place.files();
                let out = place.out().display().to_string();
                let words = format!(
                    "mount --bind '{out}' '{out}' && mount -o remount,ro,bind '{out}' || exit; exec \"$0\" \"$@\""
                );
                let ended = Ended::of(elsewhere(&words, &example.command(&place.out(), 1)));
                if ended.errors.contains("mount") || ended.errors.contains("unshare") {
                    return Verdict::Untried;
                }
                judge(&ended, Expected::Refused, &before, &place.files(), &Files::new())
            });
        }
        self.add(KIND, "your_estimator --sample writes to --out alone", |place| {
            let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/rollout");
            let before = files(&data);
            let mut command = program("your_estimator");
            let ended = Ended::of({
                command.args(["--quick", "--sample", "--seed=5", "--out"]).arg(place.out());
                command
            });
            match (files(&data) == before, files(&place.out().join("rollout")).len()) {
                (true, 5) if ended.status.success() => Verdict::Right,
                (true, _) => Verdict::Wrong(ended.words()),
                (false, _) => Verdict::Loss("a tracked file".to_owned()),
            }
        });
    }

    /// A disk that is full after so many pages, and a limit on the size of a file.
    fn full_disks(&mut self) {
        const KIND: &str = "full disks";
        for example in EXAMPLES {
            for blocks in [0, 1, 4, 16] {
                self.add(KIND, format!("{}: files of at most {blocks} KiB", example.name), move |place| {
                    place.put(&example.right(2));
                    let before = place.files();
                    let limited = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" \"$@\"");
                    let ended = Ended::of(shell(&limited, &example.command(&place.out(), 1)));
                    judge(&ended, Expected::Either, &before, &place.files(), &example.right(1))
                });
            }
            for free in [0, 1, 2, 3, 5, 8, 12, 16] {
                self.add(KIND, format!("{}: a disk with {free} pages left", example.name), move |place| {
                    let (old, disk, after) = (example.right(2), place.0.join("disk"), place.0.join("after"));
                    place.put(&old);
                    fs::create_dir(&disk).unwrap();
                    let pages: usize = old.values().map(|bytes| bytes.len().div_ceil(4096)).sum::<usize>() + free;
                    let mounted = format!(
                        "set -e; mount -t tmpfs -o size={}k tmpfs '{}'; cp '{}'/* '{}'; set +e; \"$0\" \"$@\"; code=$?; \
                         cp -a '{}' '{}'; exit $code",
                        pages * 4,
                        disk.display(),
                        place.out().display(),
                        disk.display(),
                        disk.display(),
                        after.display()
                    );
                    let ended = Ended::of(elsewhere(&mounted, &example.command(&disk, 1)));
                    if !after.exists() {
                        return Verdict::Untried;
                    }
                    judge(&ended, Expected::Either, &old, &files(&after), &example.right(1))
                });
            }
        }
    }

    /// The files are there whoever reads what is printed.
    fn closed_outputs(&mut self) {
        const KIND: &str = "output that is not read";
        for example in EXAMPLES {
            for (what, words, succeeds) in [
                ("is full", "exec \"$0\" \"$@\" > /dev/full", false),
                ("is closed", "exec \"$0\" \"$@\" >&-", true),
                ("and errors are closed", "exec \"$0\" \"$@\" >&- 2>&-", true),
                ("is full, errors too", "\"$0\" \"$@\" > /dev/full 2> /dev/full || exit 0; exit 1", true),
                ("is read by nobody", "\"$0\" \"$@\" | true; exit ${PIPESTATUS[0]}", true),
                ("is read by head -1", "\"$0\" \"$@\" | head -1; exit ${PIPESTATUS[0]}", true),
            ] {
                self.add(KIND, format!("{}: output {what}", example.name), move |place| {
                    let ended = Ended::of(shell(words, &example.command(&place.out(), 1)));
                    let right = place.files() == *example.right(1);
                    if ended.is_panic() {
                        Verdict::Panic(ended.words())
                    } else if !right {
                        Verdict::Loss(ended.words())
                    } else if succeeds && ended.status.success() {
                        Verdict::Right
                    } else if !succeeds && ended.is_clean_error() {
                        Verdict::Error
                    } else {
                        Verdict::Wrong(ended.words())
                    }
                });
            }
        }
        for (name, options) in [("workloads", "--data tests/golden --no-time"), ("scaling", "--samples 10,20,30,40")] {
            for lines in 0..4 {
                self.add(KIND, format!("{name}: {lines} lines are read"), move |_| {
                    let mut command = program(name);
                    command.args(options.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
                    let mut child = command.spawn().unwrap();
                    let mut out = BufReader::new(child.stdout.take().unwrap());
                    (0..lines).for_each(|_| drop(out.read_line(&mut String::new())));
                    drop(out);
                    let ended = Ended::wait(child);
                    match ended.status.code() {
                        Some(141) if ended.errors.is_empty() || name == "workloads" => Verdict::Right,
                        _ if ended.is_panic() => Verdict::Panic(ended.words()),
                        _ => Verdict::Wrong(ended.words()),
                    }
                });
            }
            self.add(KIND, format!("{name}: output is full"), move |_| {
                let mut command = program(name);
                command.args(options.split(' '));
                let ended = Ended::of(shell("exec \"$0\" \"$@\" > /dev/full", &command));
                judge(&ended, Expected::Refused, &Files::new(), &Files::new(), &Files::new())
            });
        }
    }

    fn arrays(&mut self) {
        const KIND: &str = "damaged arrays";
        type Damage = fn(&Path);
        fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
            let mut bytes = fs::read(path).unwrap();
            change(&mut bytes);
            fs::write(path, bytes).unwrap();
        }
        /// The header's dictionary, padded as before.
        fn header(path: &Path, from: &str, to: &str) {
            edit(path, |bytes| {
                let length = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
                let text = String::from_utf8(bytes[10..length].to_vec()).unwrap();
                let place = text.find(from).unwrap();
                let end = place + from.len() + text[place + from.len()..].find([',', ')']).unwrap();
                let changed = format!("{}{from}{to}{}", &text[..place], &text[end..]);
                let fitted = format!("{:<1$}\n", changed.trim_end(), length - 11);
                bytes.splice(8..length, ((fitted.len() as u16).to_le_bytes().into_iter()).chain(fitted.bytes()));
            });
        }
        fn instead(path: &Path, target: &str) {
            fs::remove_file(path).unwrap();
            symlink(target, path).unwrap();
        }
        let damages: [(&str, Damage); 22] = [
            ("empty", |path| edit(path, Vec::clear)),
            ("cut in the magic string", |path| edit(path, |bytes| bytes.truncate(3))),
            ("cut in the header's length", |path| edit(path, |bytes| bytes.truncate(9))),
            ("cut in the header", |path| edit(path, |bytes| bytes.truncate(40))),
            ("cut behind the header", |path| edit(path, |bytes| bytes.truncate(128))),
            ("cut by a byte", |path| edit(path, |bytes| bytes.truncate(bytes.len() - 1))),
            ("a byte too long", |path| edit(path, |bytes| bytes.push(0))),
            ("of another magic string", |path| edit(path, |bytes| bytes[0] = b'X')),
            ("of version 9", |path| edit(path, |bytes| bytes[6] = 9)),
            ("of a header of 64 KiB", |path| edit(path, |bytes| bytes[8..10].fill(0xFF))),
            ("of a header of 4 GiB", |path| {
                edit(path, |bytes| drop(bytes.splice(6..10, [2, 0, 0xFF, 0xFF, 0xFF, 0xFF])));
            }),
            ("of a header that is no text", |path| edit(path, |bytes| bytes[12..20].fill(0xFF))),
            ("of 4 TB", |path| header(path, "'shape': (", "1099511627776")),
            ("of a size beyond all", |path| header(path, "'shape': (", "18446744073709551615")),
            ("of a negative length", |path| header(path, "'shape': (", "-4")),
            ("of no length", |path| header(path, "'shape': (", "0")),
            ("of 16-bit numbers", |path| header(path, "'descr': ", "'<f2'")),
            ("of complex numbers", |path| header(path, "'descr': ", "'<c16'")),
            ("of objects", |path| header(path, "'descr': ", "'|O'")),
            ("a text", |path| fs::write(path, "1, 2, 3\n").unwrap()),
            ("a folder", |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }),
            ("a link to nowhere", |path| instead(path, "/no/such/file")),
        ];
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let inputs = [
            "W1/in/states",
            "W2/in/logits",
            "W3/in/v",
            "W4/in/obs",
            "W5/in/w1",
            "W6/in/x_10",
            "W7/in/theta1",
            "W8/in/P",
        ];
        let workload = |name: &'static str, folder: PathBuf| {
            move |place: &Place, damage: Damage| {
                copy_all(&folder.join(&name[..2]), &place.0.join(&name[..2]));
                damage(&place.0.join(format!("{name}.npy")));
                let mut command = program("workloads");
                command.args(["--no-time", "--only", &name[..2], "--data"]).arg(&place.0);
                judge(&Ended::of(command), Expected::Refused, &Files::new(), &Files::new(), &Files::new())
            }
        };
        let rollout = |name: &'static str| {
            move |place: &Place, damage: Damage| {
                let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/rollout");
                copy_all(&data, &place.0.join("rollout"));
                damage(&place.0.join("rollout").join(name));
                let example = EXAMPLES.into_iter().find(|example| example.name == "your_estimator").unwrap();
                place.put(&example.right(2));
                let mut command = example.command(&place.out(), 1);
                command.arg("--rollout").arg(place.0.join("rollout"));
                judge(&Ended::of(command), Expected::Refused, &example.right(2), &place.files(), &example.right(1))
            }
        };
        for (what, damage) in damages {
            for name in ["states.npy", "actions.npy", "rewards.npy", "lengths.npy", "terminated.npy"] {
                let attempt = rollout(name);
                self.add(KIND, format!("rollout/{name}: {what}"), move |place| attempt(place, damage));
            }
        }
        for (n, name) in inputs.into_iter().enumerate() {
            // Each of the damages with some of the files.
            for (what, damage) in damages.into_iter().skip(n % 3).step_by(3) {
                let attempt = workload(name, golden.clone());
                self.add(KIND, format!("{name}: {what}"), move |place| attempt(place, damage));
            }
        }
        let missing: Damage = |path| fs::remove_file(path).unwrap();
        for name in ["states.npy", "actions.npy", "rewards.npy"] {
            let attempt = rollout(name);
            self.add(KIND, format!("rollout/{name}: missing"), move |place| attempt(place, missing));
        }
        let outputs = ["W1/out/hvp", "W4/out/grad.w2", "W5/out/k3_grad.b1", "W6/out/expsin10_grad", "W8/out/meta_grad"];
        for name in inputs.into_iter().chain(outputs) {
            let attempt = workload(name, golden.clone());
            self.add(KIND, format!("{name}: missing"), move |place| attempt(place, missing));
        }
        let not_a_number: Damage = |path| {
            edit(path, |bytes| {
                let end = bytes.len();
                bytes[end - 8..].copy_from_slice(&f64::NAN.to_le_bytes());
            });
        };
        for name in outputs.into_iter().chain(["W2/in/logits", "W4/in/obs", "W6/in/x_10"]) {
            let attempt = workload(name, golden.clone());
            self.add(KIND, format!("{name}: with a NaN"), move |place| attempt(place, not_a_number));
        }
    }

    /// A study that has all its parts, but could not write its results: a folder was in the way.
    fn with_all_parts(example: Example, place: &Place, seed: u64) -> Vec<u8> {
        let first = example.right(seed).keys().next().unwrap().clone();
        fs::create_dir_all(place.out().join(&first)).unwrap();
        let ended = Ended::of(example.command(&place.out(), seed));
        assert!(ended.is_clean_error(), "{}", ended.words());
        fs::remove_dir(place.out().join(&first)).unwrap();
        fs::read(place.parts()).unwrap()
    }

    fn damaged_parts(&mut self) {
        const KIND: &str = "damaged parts";
        type Damage = fn(&mut Vec<Vec<u8>>, &mut dyn Rng);
        /// A place in a line that is not the first.
        fn somewhere(lines: &[Vec<u8>], rng: &mut dyn Rng) -> (usize, usize) {
            let line = rng.random_range(1..lines.len());
            (line, rng.random_range(0..lines[line].len()))
        }
        let damages: [(&str, usize, Damage); 14] = [
            ("a digit is another", 6, |lines, rng| {
                loop {
                    let (line, place) = somewhere(lines, rng);
                    if lines[line][place].is_ascii_digit() {
                        lines[line][place] = b'0' + (lines[line][place] - b'0' + rng.random_range(1..10)) % 10;
                        return;
                    }
                }
            }),
            ("a bit is flipped", 6, |lines, rng| {
                let (line, place) = somewhere(lines, rng);
                lines[line][place] ^= 1 << rng.random_range(0..8);
            }),
            ("a part is listed twice", 3, |lines, rng| {
                let (line, _) = somewhere(lines, rng);
                lines.push(lines[line].clone());
            }),
            ("two lines are one", 3, |lines, rng| {
                let (line, _) = somewhere(lines, rng);
                lines[line].pop();
            }),
            ("a line is cut", 3, |lines, rng| {
                let (line, place) = somewhere(lines, rng);
                lines[line].truncate(place);
                lines[line].push(b'\n');
            }),
            ("the file is cut", 3, |lines, rng| {
                let (line, place) = somewhere(lines, rng);
                lines.truncate(line + 1);
                lines[line].truncate(place);
            }),
            ("a line is missing", 1, |lines, rng| drop(lines.remove(somewhere(lines, rng).0))),
            ("a number is missing", 2, |lines, rng| {
                let (line, _) = somewhere(lines, rng);
                let end = lines[line].iter().rposition(|byte| *byte == b' ').unwrap();
                let start = lines[line][..end].iter().rposition(|byte| *byte == b' ').unwrap();
                lines[line].drain(start..end);
            }),
            ("lines are in another order", 1, |lines, _| lines[1..].reverse()),
            ("a part has another's name", 1, |lines, _| {
                let name = |line: &[u8]| {
                    let ends: Vec<usize> = (0..line.len()).filter(|&i| line[i] == b' ').take(2).collect();
                    ends[0] + 1..ends[1]
                };
                let other = lines[2][name(&lines[2])].to_vec();
                let here = name(&lines[1]);
                lines[1].splice(here, other);
            }),
            ("bytes that are no text", 2, |lines, rng| {
                let (line, place) = somewhere(lines, rng);
                lines[line].splice(place..place, [0, 0xFF, 0xFE]);
            }),
            ("the first line is damaged", 1, |lines, _| lines[0][20] ^= 1),
            ("the first line is missing", 1, |lines, _| drop(lines.remove(0))),
            ("the file is there twice", 1, |lines, _| lines.extend(lines.clone())),
        ];
        for (e, example) in EXAMPLES.into_iter().filter(|example| example.is_study).enumerate() {
            let whole: Arc<OnceLock<Vec<u8>>> = Arc::default();
            for (d, (what, times, damage)) in damages.into_iter().enumerate() {
                for time in 0..times {
                    let whole = whole.clone();
                    self.add(KIND, format!("{}: {what} ({time})", example.name), move |place| {
                        let whole = whole.get_or_init(|| Self::with_all_parts(example, &Place::new(), 1));
                        let mut lines: Vec<Vec<u8>> =
                            whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                        damage(&mut lines, &mut stream(e as u64, (100 * d + time) as u64));
                        place.put(&example.right(2));
                        fs::write(place.parts(), lines.concat()).unwrap();
                        let mut command = example.command(&place.out(), 1);
                        command.arg("--resume");
                        let ended = Ended::of(command);
                        let right = example.right(1);
                        let verdict = judge(&ended, Expected::Right, &example.right(2), &place.files(), &right);
                        let harmless = ["a line is missing", "lines are in another order", "the first line is missing"];
                        match verdict {
                            Verdict::Right if !harmless.contains(&what) && !ended.errors.contains("finished.txt: ") => {
                                Verdict::Wrong("the damage is not named".to_owned())
                            }
                            verdict => verdict,
                        }
                    });
                }
            }
        }
    }

    /// Finished parts are kept unless their deletion is asked for, and are of use to the same run alone.
    fn parts_of_others(&mut self) {
        const KIND: &str = "parts of another run, or forgotten";
        for example in EXAMPLES.into_iter().filter(|example| example.is_study) {
            for (what, seed, option) in [
                ("--resume is forgotten", 1, None),
                ("--resume is forgotten, another seed", 3, None),
                ("--resume with another seed", 3, Some("--resume")),
                ("--resume with another option", 1, Some("--resume")),
            ] {
                self.add(KIND, format!("{}: {what}", example.name), move |place| {
                    let parts = Self::with_all_parts(example, place, 1);
                    place.put(&example.right(2));
                    let mut command = example.command(&place.out(), seed);
                    command.args(option);
                    if what.ends_with("option") {
                        // Another program altogether, with a file of parts of the same name.
                        let other = EXAMPLES.into_iter().rfind(|other| other.is_study && other.name != example.name);
                        command = other.unwrap().command(&place.out(), seed);
                        command.arg("--resume");
                    }
                    let ended = Ended::of(command);
                    let verdict = judge(&ended, Expected::Refused, &example.right(2), &place.files(), &Files::new());
                    match verdict {
                        Verdict::Error if fs::read(place.parts()).unwrap() != parts => {
                            Verdict::Loss("the parts are not as they were".to_owned())
                        }
                        Verdict::Error if !ended.errors.contains("--fresh") => Verdict::Wrong(ended.words()),
                        verdict => verdict,
                    }
                });
            }
            for (what, seed, option) in [
                ("--fresh over parts", 3, "--fresh"),
                ("--fresh over nothing", 3, "--fresh"),
                ("--resume of nothing", 1, "--resume"),
            ] {
                self.add(KIND, format!("{}: {what}", example.name), move |place| {
                    if what == "--fresh over parts" {
                        Self::with_all_parts(example, place, 1);
                    }
                    let mut command = example.command(&place.out(), seed);
                    command.arg(option);
                    judge(&Ended::of(command), Expected::Right, &Files::new(), &place.files(), &example.right(seed))
                });
            }
            self.add(KIND, format!("{}: the same again, and another seed", example.name), move |place| {
                for seed in [1, 1, 2] {
                    let before = place.files();
                    let ended = Ended::of(example.command(&place.out(), seed));
                    match judge(&ended, Expected::Right, &before, &place.files(), &example.right(seed)) {
                        Verdict::Right if !place.parts().exists() => {}
                        Verdict::Right => return Verdict::Wrong("parts are left behind".to_owned()),
                        verdict => return verdict,
                    }
                }
                Verdict::Right
            });
        }
    }

    /// One of them is refused, or they do not meet. Where one is killed, the other may be resumed.
    fn two_at_once(&mut self) {
        const KIND: &str = "two runs at once";
        for example in EXAMPLES {
            for (time, seeds) in [[1, 3], [1, 1], [3, 1], [2, 3]].into_iter().enumerate() {
                self.add(KIND, format!("{}: seeds {seeds:?} ({time})", example.name), move |place| {
                    let spawn = |seed| {
                        let mut command = example.command(&place.out(), seed);
                        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
                    };
                    let ended = seeds.map(spawn).map(Ended::wait);
                    if let Some(ended) = ended.iter().find(|ended| ended.is_panic()) {
                        return Verdict::Panic(ended.words());
                    }
                    for ended in ended.iter().filter(|ended| !ended.status.success()) {
                        if !ended.errors.contains("another run is writing to the folder") {
                            return Verdict::Wrong(ended.words());
                        }
                    }
                    let files = place.files();
                    let won = seeds.iter().zip(&ended).filter(|(_, ended)| ended.status.success());
                    if won.clone().any(|(seed, _)| files == *example.right(*seed)) {
                        Verdict::Right
                    } else {
                        Verdict::Wrong(format!("{}, of {} runs", names(&files), won.count()))
                    }
                });
            }
        }
        for example in EXAMPLES.into_iter().filter(|example| example.is_study) {
            for time in 0..5 {
                self.add(KIND, format!("{}: both killed, one resumed ({time})", example.name), move |place| {
                    let mut children = [1, 3].map(|seed| {
                        example.command(&place.out(), seed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
                    });
                    let rng = &mut stream(time, 7);
                    std::thread::sleep(example.duration().mul_f64(rng.random_range(0.0..1.0)));
                    children.iter_mut().for_each(|child| drop(child.kill()));
                    children.iter_mut().for_each(|child| drop(child.wait()));
                    // One of them is resumed, and the other is refused, unless they were done or had not begun.
                    let before = place.files_after_kill();
                    let resumed = [1, 3].map(|seed| {
                        let mut command = example.command(&place.out(), seed);
                        command.arg("--resume");
                        let ended = Ended::of(command);
                        (ended.is_panic(), ended.status.success().then_some(seed), ended.words())
                    });
                    if let Some((.., words)) = resumed.iter().find(|(panics, ..)| *panics) {
                        return Verdict::Panic(words.clone());
                    }
                    let files = place.files_after_kill();
                    let last = resumed.iter().filter_map(|(_, seed, _)| *seed).next_back();
                    match last {
                        Some(seed) if files == *example.right(seed) => Verdict::Right,
                        Some(_) => Verdict::Wrong(names(&files)),
                        None if files == before => Verdict::Wrong("none could be resumed".to_owned()),
                        None => Verdict::Loss(names(&files)),
                    }
                });
            }
        }
    }

    fn killed(&mut self) {
        const KIND: &str = "killed, then resumed";
        for example in EXAMPLES.into_iter().filter(|example| example.is_study) {
            for time in 0..16 {
                self.add(KIND, format!("{} ({time})", example.name), move |place| {
                    let (old, right) = (example.right(2), example.right(1));
                    place.put(&old);
                    let rng = &mut stream(time, 11);
                    // Killed up to three times.
                    for kill in 0..=time % 3 {
                        let mut command = example.command(&place.out(), 1);
                        command.args((kill > 0).then_some("--resume"));
                        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                        std::thread::sleep(example.duration().mul_f64(rng.random_range(0.0..1.1)));
                        let _ = child.kill();
                        child.wait().unwrap();
                        // Each file is an old one or a new one.
                        let files = place.files_after_kill();
                        if let Some(name) = old.keys().find(|name| {
                            ![old.get(*name), right.get(*name)].contains(&files.get(*name)) || files.len() != old.len()
                        }) {
                            return Verdict::Loss(format!("{name}, after kill {kill}: {}", names(&files)));
                        }
                    }
                    let unasked = Ended::of(example.command(&place.out(), 2));
                    let asks = unasked.is_clean_error() && unasked.errors.contains("--resume");
                    if !unasked.status.success() && !asks {
                        return Verdict::Wrong(unasked.words());
                    }
                    let mut command = example.command(&place.out(), 1);
                    command.arg("--resume");
                    let ended = Ended::of(command);
                    judge(&ended, Expected::Right, &old, &place.files_after_kill(), &right)
                });
            }
        }
    }
}

impl Example {
    /// How long a run takes, about.
    fn duration(self) -> Duration {
        static KNOWN: Mutex<BTreeMap<&str, Duration>> = Mutex::new(BTreeMap::new());
        if let Some(known) = KNOWN.lock().unwrap().get(self.name) {
            return *known;
        }
        let (place, began) = (Place::new(), Instant::now());
        Ended::of(self.command(&place.out(), 1));
        *KNOWN.lock().unwrap().entry(self.name).or_insert(began.elapsed())
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &place);
        } else {
            fs::copy(&path, place).unwrap();
        }
    }
}

#[test]
fn what_an_option_may_be_is_said_in_words() {
    let [zero, ten] = ["0", "10"].map(|text| whole(1..=9)(text).unwrap_err());
    assert_eq!(
        (zero.as_str(), ten.as_str()),
        ("must be a whole number from 1 to 9", "must be a whole number from 1 to 9")
    );
    assert_eq!(whole(1..=9)("9"), Ok(9));
    for text in ["NaN", "1", "-0.1", "1e999", "", "x"] {
        assert_eq!(real(0.0..1.0)(text).unwrap_err(), "must be a number from 0 to below 1", "{text}");
    }
    let several = increasing(whole(1..=9));
    assert_eq!(several("1,5,9"), Ok(List(vec![1, 5, 9])));
    let message = "each of the numbers, which are separated by commas, must be a whole number from 1 to 9";
    assert_eq!(several("1,,5").unwrap_err(), message);
    for text in ["5,5", "5,1"] {
        assert_eq!(several(text).unwrap_err(), "the numbers must be in increasing order, none of them twice");
    }
}

#[test]
fn a_table_with_nan_is_written_and_fails_the_run() {
    let place = Place::new();
    let mut output = Output::new(Folder::open(place.out()).unwrap());
    let rows = ["0", "NaN", "1e300", "inf"].map(|x| ["dice".to_owned(), x.to_owned()]);
    output.table("errors.csv", &["estimator", "error"], rows);
    let message = output.finish(None).unwrap_err().to_string();
    assert_eq!(message, "errors.csv: error is NaN in line 3 (and 1 more)");
    assert_eq!(place.files()["errors.csv"], b"estimator,error\ndice,0\ndice,NaN\ndice,1e300\ndice,inf\n");

    let mut output = Output::new(Folder::open(place.out()).unwrap());
    writeln!(output, "error  {:>8.2}", f64::NAN);
    output.file("notes.txt", String::new());
    assert!(output.finish(None).unwrap_err().to_string().contains("(NaN)"));
}

#[test]
fn every_twentieth_case_ends_well() {
    try_all(Cases::all().0.into_iter().step_by(20).collect());
}

#[test]
#[ignore = "takes some ten minutes: scripts/bad_inputs"]
fn all_cases_end_well() {
    try_all(Cases::all().0);
}
