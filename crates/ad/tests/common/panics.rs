//! What a panic says, and which line it blames.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Message, file and line of this thread's last panic, while one is awaited.
    static CAUGHT: RefCell<Option<(String, String, u32)>> = const { RefCell::new(None) };
    static AWAITED: RefCell<bool> = const { RefCell::new(false) };
}

/// What is said by a function that panics, and where: message, file and line.
pub fn caught(f: impl FnOnce()) -> (String, String, u32) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !AWAITED.with_borrow(|awaited| *awaited) {
                return default(info);
            }
            let literal = || info.payload().downcast_ref::<&str>().map(|&message| message.to_owned());
            let message = info.payload().downcast_ref::<String>().cloned().or_else(literal).unwrap_or_default();
            let at = info.location().expect("a location");
            CAUGHT.set(Some((message, at.file().to_owned(), at.line())));
        }));
    });
    AWAITED.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    AWAITED.set(false);
    assert!(outcome.is_err(), "it should have panicked");
    CAUGHT.take().expect("the hook saw it")
}

#[track_caller]
pub fn assert_said(message: &str, words: &[&str]) {
    for words in words {
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
}
