//! Threads that help the one that asks, which works too.
//!
//! A loop of 100 µs gains nothing from a pool that is woken first and reports back in the end: both take as long as the
//! loop. Here the thread that asks begins at once, and takes all parts that nobody else has taken; a helper that comes late
//! finds nothing left, and nobody waits for it. Helpers look out for the next task for a while before they sleep.

use std::any::Any;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

/// How often a helper looks for a new task before it sleeps: some 50 µs.
const LOOKS: usize = 2000;

/// How many threads may be at work for one caller.
pub fn threads() -> usize {
    ready_threads();
    rayon::current_num_threads()
}

/// Makes sure that rayon has a pool for this thread. Where not as many threads are to be had as its pool of all wants, it has
/// none, and panics when it is asked for one; then this thread becomes a pool of its own, which is slower, but no less right.
pub fn ready_threads() {
    static HAS_POOL: OnceLock<bool> = OnceLock::new();
    if rayon::current_thread_index().is_some() {
        return;
    }
    let has_pool = HAS_POOL.get_or_init(|| match ThreadPoolBuilder::new().build_global() {
        Ok(()) => true,
        // Where the pool has been there before, nothing is behind the error.
        Err(error) => error.source().is_none(),
    });
    if !has_pool && let Ok(alone) = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build() {
        // It lasts as long as the thread.
        std::mem::forget(alone);
    }
}

/// Calls `work` once for each of `0..parts`, on as many threads as [`threads`] says, in any order; back when all have returned.
///
/// Within a pool of rayon's, that pool does it: whoever runs programs there has said how many threads there are to be.
pub fn share(parts: usize, work: &(dyn Fn(usize) + Sync)) {
    static TEAM: OnceLock<&Team> = OnceLock::new();
    if parts < 2 || threads() < 2 {
        (0..parts).for_each(work);
    } else if rayon::current_thread_index().is_some() {
        (0..parts).into_par_iter().with_max_len(1).for_each(work);
    } else {
        TEAM.get_or_init(|| Team::new(threads() - 1)).share(parts, work);
    }
}

struct Team {
    tasks: Mutex<Tasks>,
    /// How many tasks there have been. Changed while `tasks` is locked.
    count: AtomicUsize,
    new_task: Condvar,
}

struct Tasks {
    open: Vec<Shared>,
    /// Helpers that sleep.
    asleep: usize,
}

/// Work that is being shared.
struct Task<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    parts: usize,
    /// The first part that nobody has taken.
    next: AtomicUsize,
    /// Helpers at work.
    helpers: AtomicUsize,
    /// What a helper panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A task on the stack of the thread that shares it.
#[derive(Clone, Copy, PartialEq)]
struct Shared(*const Task<'static>);

// SAFETY: all that a task consists of may be used from any thread. How long it lives is `Team::share`'s business.
unsafe impl Send for Shared {}

impl Team {
    /// A team that lives as long as the process.
    fn new(helpers: usize) -> &'static Self {
        let tasks = Mutex::new(Tasks { open: Vec::with_capacity(64), asleep: 0 });
        let team: &'static Self =
            Box::leak(Box::new(Self { tasks, count: AtomicUsize::new(0), new_task: Condvar::new() }));
        for helper in 0..helpers {
            // A helper less is slower, but no less right.
            let _ = thread::Builder::new().name(format!("ad-{helper}")).spawn(|| team.help());
        }
        team
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().expect("nobody panics while it holds the lock")
    }

    fn share(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        /// Ends when no helper can reach the task any more, even if this thread's own part of the work panics.
        struct Open<'a>(&'a Team, &'a Task<'a>);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.tasks().open.retain(|&open| open != self.1.shared());
                let mut looks = 0;
                while self.1.helpers.load(Ordering::Acquire) > 0 {
                    looks += 1;
                    if looks < LOOKS { std::hint::spin_loop() } else { thread::yield_now() }
                }
            }
        }
        let task =
            Task { work, parts, next: AtomicUsize::new(0), helpers: AtomicUsize::new(0), panic: Mutex::new(None) };
        let open = Open(self, &task);
        let mut tasks = self.tasks();
        tasks.open.push(task.shared());
        self.count.fetch_add(1, Ordering::Release);
        self.wake_one(tasks);
        task.work();
        drop(open);
        if let Some(panic) = task.panic.into_inner().expect("nobody panics while it holds the lock") {
            resume_unwind(panic);
        }
    }

    /// To wake a thread takes microseconds. So each that begins to work wakes one, and nobody many.
    fn wake_one(&self, tasks: MutexGuard<'_, Tasks>) {
        let anyone = tasks.asleep > 0;
        drop(tasks);
        if anyone {
            self.new_task.notify_one();
        }
    }

    fn help(&self) -> ! {
        loop {
            let Shared(task) = self.next_task();
            // SAFETY: `next_task` counted this helper among the task's while the task was open, and whoever shares the
            // task keeps it, and what its work borrows, until that count is 0 again.
            let task = unsafe { &*task };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task.work())) {
                *task.panic.lock().expect("nobody panics while it holds the lock") = Some(panic);
            }
            task.helpers.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for a task of which a part is left, and counts this thread among its helpers.
    fn next_task(&self) -> Shared {
        loop {
            let mut tasks = self.tasks();
            for &open in &tasks.open {
                // SAFETY: a task that is open is alive, and to close it takes the lock.
                let task = unsafe { &*open.0 };
                if task.next.load(Ordering::Relaxed) < task.parts {
                    task.helpers.fetch_add(1, Ordering::Relaxed);
                    self.wake_one(tasks);
                    return open;
                }
            }
            let seen = self.count.load(Ordering::Relaxed);
            drop(tasks);
            let is_new = || self.count.load(Ordering::Acquire) != seen;
            if (0..LOOKS).any(|_| {
                is_new() || {
                    std::hint::spin_loop();
                    false
                }
            }) {
                continue;
            }
            tasks = self.tasks();
            tasks.asleep += 1;
            while !is_new() {
                tasks = self.new_task.wait(tasks).expect("nobody panics while it holds the lock");
            }
            tasks.asleep -= 1;
        }
    }
}

impl Task<'_> {
    fn shared(&self) -> Shared {
        Shared(std::ptr::from_ref(self).cast())
    }

    /// Takes parts while there are any.
    fn work(&self) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= self.parts {
                return;
            }
            (self.work)(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_done_once_however_many_share_at_the_same_time() {
        let team = Team::new(3);
        thread::scope(|scope| {
            for caller in 0..4 {
                scope.spawn(move || {
                    for round in 0..2000 {
                        let done: Vec<AtomicUsize> =
                            (0..1 + (round + caller) % 9).map(|_| AtomicUsize::new(0)).collect();
                        team.share(done.len(), &|part| {
                            done[part].fetch_add(part + 1, Ordering::Relaxed);
                        });
                        for (part, done) in done.into_iter().enumerate() {
                            assert_eq!(done.into_inner(), part + 1);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn helpers_that_sleep_are_woken() {
        let team = Team::new(2);
        for _ in 0..3 {
            thread::sleep(std::time::Duration::from_millis(20));
            // Each part waits for the others: one thread alone would not end.
            let arrived = AtomicUsize::new(0);
            team.share(3, &|_| {
                arrived.fetch_add(1, Ordering::Relaxed);
                while arrived.load(Ordering::Relaxed) < 3 {
                    thread::yield_now();
                }
            });
        }
    }

    #[test]
    fn a_part_that_panics_panics_where_it_was_shared_and_the_team_goes_on() {
        let team = Team::new(2);
        for bad in 0..50 {
            let outcome =
                catch_unwind(AssertUnwindSafe(|| team.share(50, &|part| assert!(part != bad, "part {part}"))));
            let message = *outcome.unwrap_err().downcast::<String>().unwrap();
            assert_eq!(message, format!("part {bad}"));
        }
        team.share(5, &|_| ());
    }
}
