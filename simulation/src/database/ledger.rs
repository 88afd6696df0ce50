//! Ledger entries.

use payment_runtime::ports::StoreError;
use payment_runtime::records::NewEntry;

use super::{Commit, Database, vanished};

impl Database {
    /// Appends entries, all or none; their keys are unique, as in the schema.
    pub(super) fn write_entries(&mut self, entries: &[NewEntry]) -> Result<(), StoreError> {
        if let Some(repeated) = entries
            .iter()
            .find(|entry| self.entry_keys.contains(&entry.entry_key))
        {
            return Err(vanished(&repeated.entry_key));
        }
        for entry in entries {
            self.entry_keys.insert(entry.entry_key.clone());
            if let Some(payment_no) = &entry.payment_no {
                let of_payment = self.entries_of.entry(payment_no.clone()).or_default();
                of_payment.push(self.entries.len());
            }
            self.entries.push(entry.clone());
            self.commits.push(Commit::Entry(Box::new(entry.clone())));
        }
        Ok(())
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
