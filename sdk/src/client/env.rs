//! Options from the environment: the variables that the `headwater` command reads too.

use super::{ConnectError, ConnectOptions, Fingerprint, Trust};

/// Where the hub is, `host:port`; the default is where `headwater serve` listens.
const HUB: &str = "HEADWATER_HUB";
/// SHA-256 of a development hub's certificate.
const FINGERPRINT: &str = "HEADWATER_FINGERPRINT";
/// A PEM file with the authority, or a self-signed certificate, to trust instead of the platform's roots.
const CA: &str = "HEADWATER_CA";
/// A key or token.
const TOKEN: &str = "HEADWATER_TOKEN";
/// Where `headwater serve` listens by default.
const HUB_DEFAULT: &str = "127.0.0.1:7171";

impl ConnectOptions {
    /// Defaults, with what the environment says:
    ///
    /// | variable | what |
    /// |---|---|
    /// | `HEADWATER_HUB` | the hub as `host:port`, several by commas; without it `127.0.0.1:7171` |
    /// | `HEADWATER_FINGERPRINT` | [`Trust::Fingerprint`], as a development hub prints it |
    /// | `HEADWATER_CA` | [`Trust::Certificate`], from a PEM file |
    /// | `HEADWATER_TOKEN` | [`ConnectOptions::token`] |
    ///
    /// With neither fingerprint nor file the platform's roots are trusted. An empty variable counts as not set.
    ///
    /// # Errors
    /// [`ConnectError::Options`] names the variable that cannot be used.
    pub fn from_env() -> Result<Self, ConnectError> {
        from(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }
}

fn from(get: impl Fn(&str) -> Option<String>) -> Result<ConnectOptions, ConnectError> {
    let get = |name| get(name).filter(|value| !value.trim().is_empty());
    let hubs = get(HUB).unwrap_or_else(|| HUB_DEFAULT.into());
    let mut options = ConnectOptions::new("");
    options.addresses = hubs.split(',').map(|hub| hub.trim().to_owned()).collect();
    options.trust = trust(get(FINGERPRINT), get(CA))?;
    options.token = get(TOKEN).map(Into::into);
    Ok(options)
}

fn trust(fingerprint: Option<String>, ca: Option<String>) -> Result<Trust, ConnectError> {
    match (fingerprint, ca) {
        (None, None) => Ok(Trust::PlatformRoots),
        (Some(text), None) => {
            let parsed = text.parse::<Fingerprint>();
            parsed.map(Trust::Fingerprint).map_err(|error| unusable(FINGERPRINT, &text, error))
        }
        (None, Some(path)) => Trust::from_pem_file(path.as_ref()).map_err(|error| unusable(CA, &path, error)),
        (Some(_), Some(_)) => {
            Err(ConnectError::Options(format!("{FINGERPRINT} and {CA} are both set: whom to trust?")))
        }
    }
}

fn unusable(name: &str, value: &str, why: impl std::fmt::Display) -> ConnectError {
    ConnectError::Options(format!("{name}={value}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<ConnectOptions, ConnectError> {
        from(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn without_variables_it_is_the_hub_on_this_machine() {
        let options = of(&[(TOKEN, "")]).unwrap();
        assert_eq!(options.addresses, [HUB_DEFAULT]);
        assert_eq!((options.trust, options.token), (Trust::PlatformRoots, None));
    }

    #[test]
    fn each_variable_has_its_place() {
        let print = "ab".repeat(32);
        let options = of(&[(HUB, "a:1, b:2"), (FINGERPRINT, &print), (TOKEN, "t")]).unwrap();
        assert_eq!(options.addresses, ["a:1", "b:2"]);
        assert_eq!(options.trust, Trust::Fingerprint(Fingerprint([0xab; 32])));
        assert_eq!(options.token.as_deref(), Some("t"));
    }

    #[test]
    fn an_error_names_its_variable() {
        for (name, value) in [(FINGERPRINT, "abc"), (CA, "/no/such/file.pem")] {
            let error = of(&[(name, value)]).unwrap_err();
            assert_eq!(error.code(), "options");
            assert!(error.to_string().contains(&format!("{name}={value}")), "{error}");
        }
        let print = "ab".repeat(32);
        let error = of(&[(FINGERPRINT, &print), (CA, "x.pem")]).unwrap_err();
        assert!(error.to_string().contains("both set"), "{error}");
    }
}
