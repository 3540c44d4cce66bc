//! How fast the API may be called: one pace for each token, whoever uses it.
//!
//! Goes in: the headers of answers. Comes out: a slot for each call, and how long it has to wait.
//!
//! The limit is the token's, not an environment's: what one environment is told, all that share the token wait for. Before
//! a budget is gone the calls that are left are spread over the time that is left.
//!
//! **Invariant:** a wait is bounded; what would take longer is said to the caller, who has other work. No more calls of one
//! token are under way than its pace has slots.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::model::{Digest, Secret};

use super::budget::{self, Budget};
use super::zones::Zones;

/// What is waited after a first 429 that does not say how long; doubled with each further one.
const UNSAID: Duration = Duration::from_secs(10);

/// For so long Cloudflare refuses every call after an excess: no longer is waited unasked.
const LONGEST_UNSAID: Duration = Duration::from_secs(300);

/// No `Retry-After` is believed beyond this.
const LONGEST: Duration = Duration::from_secs(3600);

/// How many calls of one token are under way at once, unless it is said otherwise.
const WIDTH: usize = 16;

/// The paces of all tokens, and what was found out with them, shared by every environment of a process and by its passes.
#[derive(Debug, Clone)]
pub struct Paces {
    width: usize,
    by_token: Arc<Mutex<ByToken>>,
    zones: Arc<Mutex<ZonesOf>>,
}

/// By endpoint, account and the token's digest: what one token sees another may not.
type ZonesOf = BTreeMap<(String, String, Digest), Arc<Zones>>;

/// By endpoint and the token's digest. A process sees a handful of tokens in its life.
type ByToken = BTreeMap<(String, Digest), Arc<Pace>>;

impl Default for Paces {
    fn default() -> Self {
        Self::new(WIDTH)
    }
}

impl Paces {
    /// None yet; each is to have `width` calls under way at once, at least 1.
    pub fn new(width: usize) -> Self {
        Self { width: width.max(1), by_token: Arc::default(), zones: Arc::default() }
    }

    /// How many calls of one token are under way at once.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The pace of a token at an endpoint.
    pub(super) fn of(&self, endpoint: &str, token: &Secret) -> Arc<Pace> {
        let key = (endpoint.to_owned(), Digest::of(token.expose()));
        let mut all = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(key).or_insert_with(|| Arc::new(Pace::new(self.width))))
    }

    /// The zones of an account that were found with a token.
    pub(super) fn zones(&self, endpoint: &str, account: &str, token: &Secret) -> Arc<Zones> {
        let key = (endpoint.to_owned(), account.to_owned(), Digest::of(token.expose()));
        Arc::clone(self.zones.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default())
    }
}

/// When the next call of one token may be made, and how many are under way.
#[derive(Debug)]
pub(super) struct Pace {
    width: usize,
    slots: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// No call is made before.
    not_before: Option<Instant>,
    /// Refusals in a row that did not say how long.
    refusals: u32,
    /// What lies between two calls, and until when that counts.
    gap: Option<(Duration, Instant)>,
    /// The next free place in the line, where calls are spread.
    next: Option<Instant>,
}

impl Pace {
    fn new(width: usize) -> Self {
        Self { width, slots: Semaphore::new(width), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot, once one is free; kept until the call has ended.
    pub(super) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, so that there always is one.
        self.slots.acquire().await.ok()
    }

    /// Takes note of an answer that came at `now`, whose slot is still held.
    pub(super) fn note(&self, status: u16, headers: &HeaderMap, now: Instant) {
        let budgets = budget::budgets(headers);
        let others = self.width.saturating_sub(self.slots.available_permits() + 1) as u64;
        let mut state = self.state();
        if status == 429 {
            let spent = budgets.iter().filter(|budget| budget.left == 0).map(|budget| budget.reset).max();
            let held = state.not_before.is_some_and(|until| until > now);
            let hold = match budget::retry_after(headers).or(spent) {
                // A server that says "at once" would be asked for ever.
                Some(said) => said.clamp(Duration::from_secs(1), LONGEST),
                // What was under way with the call that was refused first says nothing new.
                None if held => return,
                None => UNSAID.saturating_mul(1 << state.refusals.min(5)).min(LONGEST_UNSAID),
            };
            state.refusals = state.refusals.saturating_add(1);
            return state.hold(now + hold);
        }
        state.refusals = 0;
        if budgets.is_empty() {
            return;
        }
        if let Some(reset) = budgets.iter().filter(|budget| budget.left == 0).map(|budget| budget.reset).max() {
            state.hold(now + reset.min(LONGEST));
        }
        let gap = budgets.iter().filter_map(|budget| self.gap(budget, others)).max();
        if gap.is_none() {
            state.next = None;
        }
        state.gap = gap.map(|(gap, reset)| (gap, now + reset));
    }

    /// What is to lie between two calls so that the budget lasts, where little of it is left; and for how long.
    fn gap(&self, budget: &Budget, others: u64) -> Option<(Duration, Duration)> {
        let reset = budget.reset.min(LONGEST);
        let least = 2 * self.width as u64;
        let reserve = budget.quota.map_or(least, |quota| (quota / 5).max(least).min(quota / 2));
        // Those under way are not counted by the server yet.
        let left = budget.left.saturating_sub(others).max(1);
        (budget.left <= reserve).then(|| (reset.div_f64(left as f64), reset))
    }

    /// Takes the next place in the line: how long the call has to wait for it, from `now`.
    ///
    /// # Errors
    /// How long it would be, where that is more than `bearable`; then no place is taken.
    pub(super) fn place(&self, now: Instant, bearable: Duration) -> Result<Duration, Duration> {
        let mut state = self.state();
        let mut at = state.not_before.map_or(now, |until| until.max(now));
        let gap = state.gap.filter(|(_, until)| *until > at).map(|(gap, _)| gap);
        if gap.is_some() {
            at = state.next.map_or(at, |next| next.max(at));
        }
        let delay = at.saturating_duration_since(now);
        if delay > bearable {
            return Err(delay);
        }
        state.next = gap.map(|gap| at + gap);
        Ok(delay)
    }

    /// For how long nobody may call, from `now`.
    pub(super) fn held(&self, now: Instant) -> Duration {
        self.state().not_before.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

impl State {
    fn hold(&mut self, until: Instant) {
        self.not_before = Some(self.not_before.map_or(until, |former| former.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// What the calls after an answer wait for, each of them in its turn.
    fn waits(status: u16, fields: &[(&'static str, &str)]) -> [Duration; 3] {
        let (pace, now) = (Pace::new(16), Instant::now());
        pace.note(status, &headers(fields), now);
        [(); 3].map(|()| pace.place(now, LONGEST).unwrap())
    }

    #[test]
    fn a_wait_comes_from_the_headers() {
        let zero = Duration::ZERO;
        assert_eq!(waits(200, &[]), [zero; 3]);
        assert_eq!(waits(200, &[("ratelimit", "\"default\";r=50;t=30")]), [zero; 3]);
        assert_eq!(waits(200, &[("ratelimit", "\"default\";r=0;t=30")])[0], seconds(30));
        assert_eq!(waits(200, &[("ratelimit", "\"a\";r=300;t=9, \"b\";r=0;t=4")])[0], seconds(4));
        assert_eq!(waits(429, &[("retry-after", "2")]), [seconds(2); 3]);
        assert_eq!(waits(429, &[("ratelimit", "\"default\";r=0;t=70")])[0], seconds(70));
        assert_eq!(waits(429, &[])[0], UNSAID);
        assert_eq!(waits(429, &[("retry-after", "99999999")])[0], LONGEST);
    }

    #[test]
    fn what_is_left_is_spread_before_it_is_gone() {
        let zero = Duration::ZERO;
        assert_eq!(waits(200, &[("ratelimit", "\"default\";r=10;t=30")]), [zero, seconds(3), seconds(6)]);
        // With the quota known: the last fifth of a large one, and at most half of a small one.
        let large = ("ratelimit-policy", "\"default\";q=1200;w=300");
        assert_eq!(waits(200, &[("ratelimit", "\"default\";r=241;t=241"), large]), [zero; 3]);
        assert_eq!(waits(200, &[("ratelimit", "\"default\";r=240;t=240"), large]), [zero, seconds(1), seconds(2)]);
        let small = ("ratelimit-policy", "\"burst\";q=10;w=60");
        assert_eq!(waits(200, &[("ratelimit", "\"default\";r=6;t=30"), small]), [zero; 3]);
        assert_eq!(waits(200, &[("ratelimit", "\"default\";r=5;t=30"), small]), [zero, seconds(6), seconds(12)]);

        // Ample again, or over: nobody waits any more.
        let (pace, now) = (Pace::new(16), Instant::now());
        pace.note(200, &headers(&[("ratelimit", "\"default\";r=10;t=30")]), now);
        pace.place(now, LONGEST).unwrap();
        assert_eq!(pace.place(now, seconds(1)), Err(seconds(3)), "who cannot bear it takes no place");
        assert_eq!(pace.place(now, seconds(3)), Ok(seconds(3)));
        assert_eq!(pace.place(now + seconds(31), LONGEST), Ok(zero));
        pace.note(200, &headers(&[("ratelimit", "\"default\";r=1000;t=300")]), now);
        assert_eq!(pace.place(now, LONGEST), Ok(zero));
    }

    #[test]
    fn refusals_that_do_not_say_how_long_are_waited_for_longer_and_longer_up_to_five_minutes() {
        let (pace, mut now, mut waits) = (Pace::new(16), Instant::now(), Vec::new());
        for _ in 0..7 {
            pace.note(429, &HeaderMap::new(), now);
            // The others that were under way are refused with it.
            pace.note(429, &HeaderMap::new(), now + Duration::from_millis(1));
            waits.push(pace.held(now).as_secs());
            now += pace.held(now);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        pace.note(200, &HeaderMap::new(), now);
        pace.note(429, &HeaderMap::new(), now);
        assert_eq!(pace.held(now), UNSAID);
    }

    #[tokio::test]
    async fn a_token_has_one_pace_wherever_it_is_used() {
        let paces = Paces::new(2);
        let of = |endpoint: &str, token: &str| paces.clone().of(endpoint, &Secret::new(token.as_bytes().to_vec()));
        let (one, same) = (of("https://a", "token"), of("https://a", "token"));
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(&one, &of("https://b", "token")) && !Arc::ptr_eq(&one, &of("https://a", "other")));
        let _slots = (one.slot().await, same.slot().await);
        assert!(one.slots.try_acquire().is_err(), "both are taken");
    }
}
