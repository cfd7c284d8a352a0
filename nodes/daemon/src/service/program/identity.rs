//! Who a program is to be: variables and placeholders.

use damc_mgmt::config::ConfineConfig;
use damc_wire::{Name, address};

use super::confine::Confinement;

/// Who a program is to be.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) node: String,
    pub(crate) domain: String,
    pub(crate) key: std::path::PathBuf,
    pub(crate) confine: Option<ConfineConfig>,
    pub(crate) prefix: Name,
    pub(crate) pool: Option<Name>,
}

impl Identity {
    /// How it is confined, if it is.
    pub(super) fn confinement(&self) -> Option<Confinement> {
        let ConfineConfig { hidden, folder } = self.confine.clone()?;
        Some(Confinement { hidden, folder, key: self.key.clone() })
    }

    /// Variables every program finds, and the placeholders of its command.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let address = |name: &Name| address::of_name(&self.domain, name).map_or_else(String::new, |a| a.to_string());
        let host = |name: &Name| address::host_name(&self.domain, name).unwrap_or_default();
        let mut variables = vec![
            ("DAMC_NAME", self.prefix.to_string()),
            ("DAMC_ADDRESS", address(&self.prefix)),
            ("DAMC_HOST", host(&self.prefix)),
            ("DAMC_DOMAIN", format!("{}.{}", self.domain, address::DNS_TOP)),
            ("DAMC_KEY", self.key.display().to_string()),
            ("DAMC_GATEWAY", address::of_gateway(&self.domain).to_string()),
        ];
        if let Some(pool) = &self.pool {
            variables.push(("DAMC_POOL", pool.to_string()));
            variables.push(("DAMC_POOL_ADDRESS", address(pool)));
        }
        variables
    }

    pub(super) fn filled(&self, word: &str) -> String {
        let placeholders = [
            ("{name}", "DAMC_NAME"),
            ("{address}", "DAMC_ADDRESS"),
            ("{host}", "DAMC_HOST"),
            ("{domain}", "DAMC_DOMAIN"),
        ];
        let variables = self.variables();
        let value = |key: &str| variables.iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value);
        placeholders.iter().fold(word.to_owned(), |word, (placeholder, key)| word.replace(placeholder, value(key)))
    }
}
