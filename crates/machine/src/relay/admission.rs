//! Who may connect: sockets in all and by address, new ones by address, refused tokens by address
//! (`docs/protocol.md`, Limits). The driver says which addresses are exempt, by giving none.

use super::rate::Rate;
use crate::Time;
use std::collections::BTreeMap;
use tautline_protocol::limits::{self, hit};

/// An address as the driver tells them apart; of IPv6 the network, which is what one host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u128);

/// The account of all addresses beyond those told apart.
const OTHERS: Address = Address(u128::MAX);
/// Time between two looks for addresses to forget, ms.
const SWEEP_EVERY_MS: u64 = 60_000;
/// Least time between two where there is no room for one more, ms.
const SWEEP_AGAIN_MS: u64 = 1_000;

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The row it is counted under.
    pub limit: &'static str,
    /// When it may be worth another try.
    pub retry_after_ms: u64,
}

/// The bounds in force.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sockets at once.
    pub connections: usize,
    /// Sockets of one address at once.
    pub per_address: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            per_address: limits::ADDRESS_CONNECTIONS,
        }
    }
}

#[derive(Debug)]
struct Account {
    open: usize,
    new: Rate,
    failures: Rate,
}

impl Account {
    fn new() -> Self {
        Self {
            open: 0,
            new: Rate::new(limits::ADDRESS_RATE_PER_S, limits::ADDRESS_RATE_BURST),
            failures: Rate::per_minute(
                limits::AUTH_FAILURES_PER_MIN,
                limits::AUTH_FAILURES_PER_MIN,
            ),
        }
    }

    fn is_forgettable(&self, now: Time) -> bool {
        self.open == 0 && self.new.is_full(now) && self.failures.is_full(now)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Admission {
    bounds: Bounds,
    open: usize,
    accounts: BTreeMap<Address, Account>,
    swept: Time,
}

impl Admission {
    /// Nobody is connected.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            open: 0,
            accounts: BTreeMap::new(),
            swept: Time::default(),
        }
    }

    /// A socket was accepted; each `Ok` is followed by one [`Admission::closed`].
    ///
    /// # Errors
    /// It is one too many.
    pub fn opened(&mut self) -> Result<(), Refusal> {
        if self.open >= self.bounds.connections {
            return Err(Refusal {
                limit: hit::CONNECTIONS,
                retry_after_ms: 5_000,
            });
        }
        self.open += 1;
        Ok(())
    }

    /// A socket is gone.
    pub fn closed(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// A connection from this address; each `Ok` is followed by one [`Admission::left`] for the address it gives.
    ///
    /// # Errors
    /// The address has too many, or comes too often.
    pub fn came(&mut self, address: Address, now: Time) -> Result<Address, Refusal> {
        let most = self.bounds.per_address;
        let (address, account) = self.account(address, now);
        if account.open >= most {
            return Err(Refusal {
                limit: hit::ADDRESS_CONNECTIONS,
                retry_after_ms: 5_000,
            });
        }
        account.new.take(now).map_err(|retry_after_ms| Refusal {
            limit: hit::ADDRESS_RATE,
            retry_after_ms,
        })?;
        account.open += 1;
        Ok(address)
    }

    /// A connection from this address is gone.
    pub fn left(&mut self, address: Address) {
        if let Some(account) = self.accounts.get_mut(&address) {
            account.open = account.open.saturating_sub(1);
        }
    }

    /// A token from this address was refused.
    pub fn auth_failed(&mut self, address: Address, now: Time) {
        // Over the rate nothing more is taken, so the wait ends however long it goes on trying.
        let _ = self.account(address, now).1.failures.take(now);
    }

    /// Whether a token from this address is looked at.
    ///
    /// # Errors
    /// Too many were refused.
    pub fn may_try(&mut self, address: Address, now: Time) -> Result<(), Refusal> {
        let failures = match self.accounts.get(&address) {
            Some(account) => account.failures,
            None => return Ok(()),
        };
        failures.has(now).map_err(|retry_after_ms| Refusal {
            limit: hit::AUTH_FAILURES,
            retry_after_ms,
        })
    }

    /// Sockets open.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Addresses told apart: those that have something open, or come to mind still.
    pub fn addresses(&mut self, now: Time) -> usize {
        self.sweep(now);
        self.accounts.len()
    }

    /// Who came all day long is not known all day long.
    fn sweep(&mut self, now: Time) {
        self.swept = now;
        self.accounts
            .retain(|_, account| !account.is_forgettable(now));
    }

    fn account(&mut self, address: Address, now: Time) -> (Address, &mut Account) {
        let mut address = address;
        if !self.accounts.contains_key(&address) {
            let is_full = self.accounts.len() >= limits::ADDRESSES;
            let rests = if is_full {
                SWEEP_AGAIN_MS
            } else {
                SWEEP_EVERY_MS
            };
            if now - self.swept >= rests {
                self.sweep(now);
            }
            if self.accounts.len() >= limits::ADDRESSES {
                address = OTHERS;
            }
        }
        let account = self.accounts.entry(address).or_insert_with(Account::new);
        (address, account)
    }
}
