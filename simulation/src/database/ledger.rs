//! Ledger entries.

use payment_runtime::ports::StoreError;
use payment_runtime::records::NewEntry;

use super::{Commit, Database, vanished};

impl Database {
    /// Appends entries, all or none; their keys are unique, as in the schema.
    pub(super) fn write_entries(&mut self, entries: &[NewEntry]) -> Result<(), StoreError> {
        if let Some(repeated) = entries
            .iter()
            .find(|entry| self.entry_keys.contains_key(&entry.entry_key))
        {
            return Err(vanished(&repeated.entry_key));
        }
        for entry in entries {
            self.write_entry(entry);
        }
        Ok(())
    }

    /// Appends entries, all or none; one that is there already is there already.
    pub fn post(&mut self, entries: &[NewEntry]) -> Result<(), StoreError> {
        let known = |entry: &NewEntry| self.entry_keys.get(&entry.entry_key);
        for entry in entries {
            let same = known(entry).is_none_or(|place| {
                let there = &self.entries[*place];
                (there.debit, there.credit, there.amount)
                    == (entry.debit, entry.credit, entry.amount)
            });
            if !same {
                return Err(vanished(&entry.entry_key));
            }
        }
        for entry in entries {
            if !self.entry_keys.contains_key(&entry.entry_key) {
                self.write_entry(entry);
            }
        }
        Ok(())
    }

    fn write_entry(&mut self, entry: &NewEntry) {
        let place = self.entries.len();
        self.entry_keys.insert(entry.entry_key.clone(), place);
        if let Some(payment_no) = &entry.payment_no {
            let of_payment = self.entries_of.entry(payment_no.clone()).or_default();
            of_payment.push(place);
        }
        self.entries.push(entry.clone());
        self.commits.push(Commit::Entry(Box::new(entry.clone())));
    }

    /// Whether somebody took a payment's entries away, and nothing has posted them again yet.
    pub fn has_lost(&self, payment_no: &str) -> bool {
        self.lost.contains(payment_no)
    }

    /// Takes a payment's entries away, as no program of ours ever does.
    pub fn lose_entries(&mut self, payment_no: &str) {
        self.lost.insert(payment_no.to_owned());
        self.entries
            .retain(|entry| entry.payment_no.as_deref() != Some(payment_no));
        (self.entry_keys, self.entries_of) = Default::default();
        for (place, entry) in self.entries.iter().enumerate() {
            self.entry_keys.insert(entry.entry_key.clone(), place);
            if let Some(payment_no) = &entry.payment_no {
                let of_payment = self.entries_of.entry(payment_no.clone()).or_default();
                of_payment.push(place);
            }
        }
    }

    /// A payment's entries, oldest first.
    pub fn entries_of(&self, payment_no: &str) -> impl Iterator<Item = &NewEntry> {
        let places = self.entries_of.get(payment_no).into_iter().flatten();
        places.map(|place| &self.entries[*place])
    }

    pub fn all_entries(&self) -> impl Iterator<Item = &NewEntry> {
        self.entries.iter()
    }
}
