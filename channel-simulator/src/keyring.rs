//! The keys in use, and those that are valid beside them while they are changed, as it is done in
//! the channels' portals: next keys are made, both change places, the former are given up.
//!
//! WeChat Pay accepts the merchant's certificate and answers under the public key of either set.
//! What there can be only one of comes from the set in use: the APIv3 key, the key that signs
//! callbacks, Alipay's key. The merchant's identity and its key at Alipay never change: Alipay
//! knows one of them at a time. Alipay's certificates are issued anew with its key.
//!
//! A change lives in memory: who wants it to outlast the process writes the answer of
//! `POST /keys/next` to the files that the simulator starts from.

use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::keys::{self, AlipayKeys, KeyError, Keys, Values, WechatKeys};
use crate::locked;

struct State {
    in_use: Values,
    beside: Option<Values>,
    keys: Arc<Keys>,
}

impl State {
    fn new(in_use: Values, beside: Option<Values>) -> Result<Self, KeyError> {
        let keys = Arc::new(Keys::new(&in_use, beside.as_ref())?);
        Ok(Self {
            in_use,
            beside,
            keys,
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("there are no keys to change to: POST /keys/next makes them")]
    NoNext,
    #[error("cannot change the keys")]
    Key(#[from] KeyError),
}

pub(crate) struct Keyring(Mutex<State>);

impl Keyring {
    /// From a directory's files, or made here.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, KeyError> {
        let values = match directory {
            Some(directory) => keys::read(directory)?,
            None => keys::generate()?,
        };
        State::new(keys::with_certificates(values)?, None).map(|state| Self(Mutex::new(state)))
    }

    pub(crate) fn current(&self) -> Arc<Keys> {
        Arc::clone(&locked(&self.0).keys)
    }

    pub(crate) fn wechat(&self) -> Arc<WechatKeys> {
        Arc::clone(&locked(&self.0).keys.wechat)
    }

    pub(crate) fn alipay(&self) -> Arc<AlipayKeys> {
        Arc::clone(&locked(&self.0).keys.alipay)
    }

    /// Makes keys to change to, in place of any that were beside those in use; what a client and
    /// the simulator need of them.
    pub(crate) fn make_next(&self) -> Result<Values, KeyError> {
        let mut state = locked(&self.0);
        let next = keys::next(&state.in_use)?;
        *state = State::new(state.in_use.clone(), Some(next.clone()))?;
        Ok(next)
    }

    /// The keys in use and those beside them change places.
    pub(crate) fn switch(&self) -> Result<(), ChangeError> {
        let mut state = locked(&self.0);
        let next = state.beside.clone().ok_or(ChangeError::NoNext)?;
        *state = State::new(next, Some(state.in_use.clone()))?;
        Ok(())
    }

    /// Only the keys in use are valid from now on.
    pub(crate) fn give_up(&self) -> Result<(), KeyError> {
        let mut state = locked(&self.0);
        *state = State::new(state.in_use.clone(), None)?;
        Ok(())
    }
}
