//! The queue without `tracing`: registered callbacks, pushed records. The state is one per process,
//! so these tests take turns.

use std::ffi::c_char;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use super::*;

/// A callback's view of the test: what it got, and what it does then.
struct Listener {
    got: Vec<String>,
    then: Box<dyn FnMut() + Send>,
}

unsafe extern "C" fn on_record(
    _level: i32,
    _target: *const c_char,
    message: *const c_char,
    user_data: *mut c_void,
) {
    // SAFETY: the library passes a C string, and the test a Listener.
    let (message, listener) =
        unsafe { (ptr::required_text(message, "message"), &mut *user_data.cast::<Listener>()) };
    listener.got.push(message.unwrap());
    (listener.then)();
}

fn registration(listener: &mut Listener) -> Registration {
    let user_data = (&raw mut *listener).cast();
    Registration { call: on_record, user_data, max_level: LevelFilter::INFO }
}

fn listener(then: impl FnMut() + Send + 'static) -> Listener {
    Listener { got: Vec::new(), then: Box::new(then) }
}

fn push_info(text: &str) {
    push(Level::INFO, Record::new(Level::INFO, "test", text));
}

/// One test at a time has the queue, which it leaves as it was.
pub(crate) fn with_queue(test: impl FnOnce()) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    test();
    register(None);
}

/// Records are delivered in order, up to the level, and once.
#[test]
fn records_are_delivered_in_order_and_once() {
    with_queue(|| {
        let mut listener = listener(|| {});
        register(Some(registration(&mut listener)));
        push_info("a");
        push(Level::DEBUG, Record::new(Level::DEBUG, "test", "too fine"));
        push_info("b");
        deliver();
        deliver();
        assert_eq!(listener.got, ["a", "b"]);
    });
}

/// Of too many records the newest stay, and the first that is delivered says how many are deletions.
#[test]
fn the_newest_records_stay() {
    with_queue(|| {
        let mut listener = listener(|| {});
        register(Some(registration(&mut listener)));
        for number in 0..CAPACITY + 5 {
            push_info(&number.to_string());
        }
        deliver();
        assert_eq!(listener.got[0], "5 older log records were dropped");
        assert_eq!(listener.got[1], "5");
        assert_eq!(listener.got.len(), CAPACITY + 1);
    });
}

/// A callback may log, deliver and unregister itself; nothing runs twice at a time, and nothing
/// runs afterwards.
#[test]
fn a_callback_may_replace_itself() {
    with_queue(|| {
        let mut listener = listener(|| {
            push_info("from within");
            deliver();
            register(None);
        });
        register(Some(registration(&mut listener)));
        push_info("a");
        push_info("b");
        deliver();
        assert_eq!(listener.got, ["a"]);
    });
}

/// Replacing a callback waits until it has returned.
#[test]
fn replacing_waits_for_the_running_callback() {
    with_queue(|| {
        let (entered, is_entered): (Sender<()>, Receiver<()>) = channel();
        let (leave, may_leave): (Sender<()>, Receiver<()>) = channel();
        let left = std::sync::Arc::new(AtomicBool::new(false));
        let has_left = std::sync::Arc::clone(&left);
        let mut listener = listener(move || {
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
            left.store(true, Ordering::SeqCst);
        });
        register(Some(registration(&mut listener)));
        push_info("a");
        thread::scope(|scope| {
            scope.spawn(deliver);
            is_entered.recv().unwrap();
            let replacing = scope.spawn(|| {
                register(None);
                has_left.load(Ordering::SeqCst)
            });
            // Nothing else tells that it waits. If it doesn't, it ends, and too early.
            while lock().waiting == 0 && !replacing.is_finished() {
                thread::yield_now();
            }
            leave.send(()).unwrap();
            assert!(replacing.join().unwrap(), "register returned before the callback did");
        });
    });
}

/// A child of a fork, which other threads were logging in, can use the queue.
#[test]
#[cfg(unix)]
fn a_forked_child_finds_the_queue_free() {
    with_queue(|| {
        let mut listener = listener(|| {});
        register(Some(registration(&mut listener)));
        fork::prepare_for_forks().unwrap();
        let (stay_busy, end): (Sender<()>, Receiver<()>) = channel();
        thread::scope(|scope| {
            // Dropped when the test is over, however it ends.
            let _stay_busy = stay_busy;
            scope.spawn(move || {
                while end.try_recv() == Err(TryRecvError::Empty) {
                    push_info("from another thread");
                }
            });
            for _ in 0..50 {
                // SAFETY: the child only uses the queue, which is what is tested, and leaves
                // without cleaning up.
                match unsafe { libc::fork() } {
                    0 => {
                        // SAFETY: has the child killed if it waits for a lock that nobody gives up.
                        unsafe { libc::alarm(20) };
                        push_info("from the child");
                        deliver();
                        let only_own = listener.got == ["from the child"];
                        // SAFETY: ends the child at once.
                        unsafe { libc::_exit(i32::from(!only_own)) }
                    }
                    child => {
                        assert!(child > 0);
                        let mut status = 0;
                        // SAFETY: waits for the child made above.
                        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                        assert_eq!(status, 0);
                    }
                }
            }
        });
    });
}
