//! How much of what long-lived plugins printed may wait to be judged. Who has no room left is not
//! read any more, so that it waits on its own pipe and nobody else does.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// For one plugin, in bytes.
const OWN: usize = 1 << 20;
/// For all of them together.
const ALL: usize = 4 << 20;

/// What is taken by all plugins, and how to wake the worker when some of it is given back.
#[derive(Debug)]
pub(super) struct Room {
    taken: AtomicUsize,
    /// Somebody waits for room.
    wanted: AtomicBool,
    bell: OwnedFd,
}

impl Room {
    /// `bell` is written to when room is given back that somebody waits for.
    pub(super) fn new(bell: OwnedFd) -> Self {
        Self { taken: AtomicUsize::new(0), wanted: AtomicBool::new(false), bell }
    }
}

/// One plugin's share of the room.
#[derive(Debug, Clone)]
pub(super) struct Share {
    room: Arc<Room>,
    taken: Arc<AtomicUsize>,
}

impl Share {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self { room, taken: Arc::default() }
    }

    /// Whether more may be read. If not, the worker is woken when that may have changed.
    pub(super) fn has_room(&self) -> bool {
        if self.is_free() {
            return true;
        }
        self.room.wanted.store(true, Ordering::SeqCst);
        // Room that was given back in between woke nobody.
        self.is_free()
    }

    fn is_free(&self) -> bool {
        self.taken.load(Ordering::SeqCst) < OWN && self.room.taken.load(Ordering::SeqCst) < ALL
    }

    /// Takes room for `size` bytes, until what it returns is dropped.
    pub(super) fn take(&self, size: usize) -> Hold {
        self.taken.fetch_add(size, Ordering::SeqCst);
        self.room.taken.fetch_add(size, Ordering::SeqCst);
        Hold { share: self.clone(), size }
    }
}

/// Room that is taken.
#[derive(Debug)]
pub(super) struct Hold {
    share: Share,
    size: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Share { room, taken } = &self.share;
        taken.fetch_sub(self.size, Ordering::SeqCst);
        room.taken.fetch_sub(self.size, Ordering::SeqCst);
        if room.wanted.swap(false, Ordering::SeqCst) {
            // The counter of an eventfd cannot overflow within a lifetime of rings.
            let _full = rustix::io::write(&room.bell, &1_u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn who_waits_for_room_is_told_when_there_is_some() {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let room = Arc::new(Room::new(bell.try_clone().unwrap()));
        let rung = || rustix::io::read(&bell, &mut [0; 8]).is_ok();
        let share = Share::new(Arc::clone(&room));
        drop(share.take(OWN));
        assert!(!rung(), "nobody waits");
        let hold = share.take(OWN);
        assert!(!share.has_room());
        drop(hold);
        assert!(rung() && share.has_room());
        // Others may take all there is.
        let others: Vec<Hold> = (0..4).map(|_| Share::new(Arc::clone(&room)).take(OWN)).collect();
        assert!(!share.has_room());
        drop(others);
        assert!(rung() && share.has_room());
    }
}
