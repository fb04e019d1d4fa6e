//! Connections of a guest that nobody serves, ended so that the guest hears of it.
//!
//! A socket that is closed while it holds unread bytes is a broken one for its other end, and the device of
//! QEMU (vhost-device-vsock 0.3.0) then tells the guest nothing: whoever has spoken before it was refused
//! would wait for good. So our side ends first, and what the guest says is read until it has gone.

use crate::backend::GuestStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// How long a guest may take to go.
const GO_LIMIT: Duration = Duration::from_secs(2);
/// Connections that may be on their way out at once; a guest that floods has more of them cut off.
const GOING_MAX: usize = 128;
const READ_BYTES: usize = 4 << 10;

/// Ends connections in the background, a bounded number at once.
#[derive(Debug, Clone)]
pub(super) struct TurnedAway(Arc<Semaphore>);

impl Default for TurnedAway {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(GOING_MAX)))
    }
}

impl TurnedAway {
    /// Ends this one. Nothing of it is served from here on.
    pub(super) fn end(&self, guest: GuestStream) {
        let Ok(place) = self.0.clone().try_acquire_owned() else {
            return;
        };
        spawn_local(async move {
            let _ = timeout(GO_LIMIT, see_off(guest)).await;
            drop(place);
        });
    }
}

async fn see_off(mut guest: GuestStream) {
    // It may be gone already, which is what is wanted.
    let _ = guest.shutdown().await;
    let mut unheard = vec![0; READ_BYTES];
    while guest.read(&mut unheard).await.is_ok_and(|read| read > 0) {}
}

#[cfg(test)]
mod tests {
    use super::{GOING_MAX, TurnedAway};
    use crate::backend::GuestStream;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::task::LocalSet;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn hears_an_end(mut guest: UnixStream) -> bool {
        let read = timeout(PATIENCE, guest.read(&mut [0; 1])).await.unwrap();
        matches!(read, Ok(0))
    }

    #[tokio::test]
    async fn a_guest_that_has_spoken_hears_an_end_and_no_broken_connection() {
        let turned_away = TurnedAway::default();
        let local = LocalSet::new();
        let test = async {
            for _ in 0..200 {
                let (ours, mut guest) = UnixStream::pair().unwrap();
                guest.write_all(b"hello").await.unwrap();
                turned_away.end(Box::new(ours) as GuestStream);
                // It may as well speak while it is seen off.
                let _ = guest.write_all(b"again").await;
                assert!(hears_an_end(guest).await);
            }
        };
        local.run_until(test).await;
    }

    #[tokio::test]
    async fn a_flood_is_cut_off_beyond_a_bound() {
        let turned_away = TurnedAway::default();
        let local = LocalSet::new();
        let test = async {
            let mut guests = Vec::new();
            for _ in 0..GOING_MAX + 10 {
                let (ours, guest) = UnixStream::pair().unwrap();
                turned_away.end(Box::new(ours) as GuestStream);
                guests.push(guest);
                tokio::task::yield_now().await;
            }
            assert_eq!(turned_away.0.available_permits(), 0);
            let last = guests.pop().unwrap();
            assert!(hears_an_end(last).await);
            drop(guests);
            while turned_away.0.available_permits() < GOING_MAX {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, local.run_until(test)).await.unwrap();
    }
}
