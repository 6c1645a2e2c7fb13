//! How much the holder of a token may take in an hour, by however many statements, sessions and connections.
//!
//! A client opens as many sessions as it likes, so an hour's part is the token's. An hour begins with what is taken first, and all of it
//! is there again when it is over. What a statement may take by itself is `quotas`' to say.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::refusal::Refusal;

/// After how long all is there again.
const HOUR: Duration = Duration::from_secs(3600);

/// What a token may take in an hour; `None` is as much as it likes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Hourly {
    /// Images that a model is asked about.
    pub images: Option<u64>,
    /// Time that its statements take, planning and waiting included, summed over those that run at once.
    pub time: Option<Duration>,
    /// Bytes of encoded images that are read for it.
    pub bytes: Option<u64>,
    /// Rows that it is given.
    pub rows: Option<u64>,
}

/// What was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Spent {
    pub(super) images: u64,
    pub(super) time: Duration,
    pub(super) bytes: u64,
    pub(super) rows: u64,
}

/// What a token has of its hour.
#[derive(Debug)]
pub(super) struct Budget {
    hourly: Hourly,
    /// When the hour began, and what was taken since; `None` where nothing was.
    hour: Mutex<Option<(Instant, Spent)>>,
}

impl Budget {
    /// A whole hour's.
    pub(super) fn new(hourly: Hourly) -> Self {
        Self {
            hourly,
            hour: Mutex::default(),
        }
    }

    /// Takes so much, which has been used already.
    pub(super) fn spend(&self, spent: Spent) {
        self.spend_at(Instant::now(), spent);
    }

    fn spend_at(&self, now: Instant, spent: Spent) {
        let mut hour = self.hour(now);
        let (_, all) = hour.get_or_insert_with(|| (now, Spent::default()));
        all.images += spent.images;
        all.time += spent.time;
        all.bytes += spent.bytes;
        all.rows += spent.rows;
    }

    /// Whether something is left of everything, for what is to begin.
    ///
    /// # Errors
    /// [`Refusal::Exhausted`] with what is used up, and when it is there again.
    pub(super) fn begin(&self) -> Result<(), Refusal> {
        self.begin_at(Instant::now())
    }

    fn begin_at(&self, now: Instant) -> Result<(), Refusal> {
        self.check(now, |taken, most| taken >= most)
    }

    /// Whether no more was taken than there was, for what is under way.
    ///
    /// # Errors
    /// As [`Budget::begin`].
    pub(super) fn go_on(&self) -> Result<(), Refusal> {
        self.go_on_at(Instant::now())
    }

    fn go_on_at(&self, now: Instant) -> Result<(), Refusal> {
        self.check(now, |taken, most| taken > most)
    }

    fn check(&self, now: Instant, is_over: impl Fn(u64, u64) -> bool) -> Result<(), Refusal> {
        let Some((began, taken)) = *self.hour(now) else {
            return Ok(());
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let Hourly {
            images,
            time,
            bytes,
            rows,
        } = self.hourly;
        let seconds = time.map_or(0.0, |time| time.as_secs_f64());
        for (taken, most, what) in [
            (
                taken.images,
                images,
                images.unwrap_or(0).to_string() + " images",
            ),
            (
                millis(taken.time),
                time.map(millis),
                format!("{seconds} seconds"),
            ),
            (
                taken.bytes,
                bytes,
                bytes.unwrap_or(0).to_string() + " bytes of images",
            ),
            (taken.rows, rows, rows.unwrap_or(0).to_string() + " rows"),
        ] {
            if most.is_some_and(|most| is_over(taken, most)) {
                let left = HOUR.saturating_sub(now.saturating_duration_since(began));
                return Err(Refusal::Exhausted(format!(
                    "the token has had the {what} of its hour; they are there again in {}",
                    shown(left)
                )));
            }
        }
        Ok(())
    }

    /// The hour that is not over.
    fn hour(&self, now: Instant) -> MutexGuard<'_, Option<(Instant, Spent)>> {
        // The numbers are whole at every point where a panic could leave the lock.
        let mut hour = self.hour.lock().unwrap_or_else(PoisonError::into_inner);
        if hour.is_some_and(|(began, _)| now.saturating_duration_since(began) >= HOUR) {
            *hour = None;
        }
        hour
    }
}

/// A time as a person says it, rounded up.
fn shown(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil();
    match seconds > 90.0 {
        true => format!("{} minutes", (seconds / 60.0).ceil()),
        false => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(images: u64) -> Spent {
        Spent {
            images,
            ..Spent::default()
        }
    }

    #[test]
    fn an_hour_begins_with_what_is_taken_first_and_then_all_is_there_again() {
        let budget = Budget::new(Hourly {
            images: Some(100),
            ..Hourly::default()
        });
        let began = Instant::now();
        assert_eq!(budget.begin_at(began), Ok(()));
        budget.spend_at(began, images(99));
        let half = began + HOUR / 2;
        assert_eq!(budget.begin_at(half), Ok(()));
        budget.spend_at(half, images(1));
        // What took the last goes on, and nothing else begins.
        assert_eq!(budget.go_on_at(half), Ok(()));
        let refused = budget.begin_at(half).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the token has had the 100 images of its hour; they are there again in 30 minutes"
        );
        budget.spend_at(half, images(1));
        assert!(budget.go_on_at(half).is_err());
        let end = began + HOUR;
        let refused = budget.begin_at(end - Duration::from_secs(20));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.ends_with("in 20 seconds"), "{refused}");
        assert_eq!(budget.begin_at(end), Ok(()));
        assert_eq!(budget.go_on_at(end), Ok(()));
    }

    #[test]
    fn each_is_counted_by_itself() {
        let all = Hourly {
            images: Some(10),
            time: Some(Duration::from_secs(10)),
            bytes: Some(10),
            rows: Some(10),
        };
        let much = Spent {
            images: 10,
            time: Duration::from_secs(10),
            bytes: 10,
            rows: 10,
        };
        for (hourly, what) in [
            (
                Hourly {
                    images: None,
                    ..all
                },
                "10 seconds of",
            ),
            (
                Hourly {
                    images: None,
                    time: None,
                    ..all
                },
                "10 bytes of images",
            ),
            (
                Hourly {
                    images: None,
                    time: None,
                    bytes: None,
                    ..all
                },
                "10 rows",
            ),
        ] {
            let budget = Budget::new(hourly);
            budget.spend(much);
            let refused = budget.begin().unwrap_err().to_string();
            assert!(refused.contains(what), "{refused}");
        }
        let free = Budget::new(Hourly::default());
        free.spend(much);
        assert_eq!(free.begin(), Ok(()));
    }
}
