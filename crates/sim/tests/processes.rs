//! What is started as Python, and is none: always an error, never a hang. Needs no Python.
#![cfg(unix)]

use std::time::{Duration, Instant};

use sim::gym::{Error, Gym};

/// What comes of a shell script in place of the interpreter.
fn by(script: &str) -> Error {
    let begin = Instant::now();
    let setup = Gym::of("Some-v0").python(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/none"));
    let setup = setup.variable("SCRIPT", script).within(Duration::from_secs(5), Duration::from_secs(1));
    let (error, waited) = (setup.start().expect_err("it is no Python"), begin.elapsed());
    assert!(waited < Duration::from_secs(30), "{waited:?}: {error}");
    error
}

#[test]
fn an_interpreter_that_there_is_not_is_told() {
    let error = Gym::of("Some-v0").python("/no/such/python").start().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Interpreter { .. }), "{text}");
    assert!(text.contains("cannot start `/no/such/python`") && text.contains("GYM_PYTHON"), "{text}");
}

#[test]
fn what_ends_is_told_with_its_status_and_its_last_words() {
    let error = by("echo first >&2; echo last >&2; exit 7");
    assert_eq!(error.to_string(), "gym:Some-v0: its process ended (exit status: 7); its last lines:\nfirst\nlast");
    let error = by("kill -9 $$");
    assert_eq!(error.to_string(), "gym:Some-v0: its process ended (signal: 9 (SIGKILL))");
    let error = by("exec 0<&- 1<&-; exec sleep 60");
    assert!(matches!(error, Error::Ended { .. }), "{error}");
}

#[test]
fn what_answers_something_else_is_told() {
    for (name, script) in [
        ("many", r"printf '\377\377\377\377' >&0; exec sleep 60"),
        ("text", r"printf 'Python 2.7\n' >&0; exec sleep 60"),
        ("json", r#"printf '\005\000\000\000[1,2]' >&0; exec sleep 60"#),
        ("nothing", r"printf '\000\000\000\000' >&0; exec sleep 60"),
        ("no space", r#"printf '\053\000\000\000{"observation":1,"action":2,"versions":[   ]}' >&0; exec sleep 60"#),
    ] {
        let error = by(script);
        assert!(matches!(error, Error::Answer { .. }), "{name}: {error}");
        assert!(error.to_string().contains("its process answered what cannot be understood: "), "{error}");
    }
    // Half an answer.
    assert!(matches!(by(r"printf '\005\000\000\000[1' >&0"), Error::Ended { .. }));
}

#[test]
fn what_says_nothing_is_given_up() {
    let error = by("echo loading >&2; exec sleep 60");
    assert_eq!(
        error.to_string(),
        "gym:Some-v0: no answer within 5s to the command to start, so its process was ended; its last lines:\nloading"
    );
}
