//! SCRAM-SHA-256 (RFC 5802, RFC 7677): a client proves that it knows a token without sending it.
//!
//! Owns: what the hub keeps of tokens for that, and the dialogue. Must not know: sockets; the token itself, once
//! its verifier is made. Any user name will do: the token is who one is.
//! Invariant: all verifiers are compared, whatever the input, so that time tells nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;

/// The mechanism's name.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// PostgreSQL's default. Tokens are random: it need not be higher.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4_096).expect("it is not zero");
/// Bytes of salt and of the hub's part of the nonce.
const RANDOM_BYTES: usize = 18;
/// Bytes of SHA-256.
const HASH_BYTES: usize = 32;

type Hash = [u8; HASH_BYTES];

/// What is kept of all tokens. One salt for all: the client is told one before it is known which token it has.
pub struct Verifiers {
    salt: String,
    keys: Vec<Keys>,
}

impl std::fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{} hidden>", self.keys.len())
    }
}

struct Keys {
    stored: Hash,
    server: Hash,
}

impl Verifiers {
    /// Of these tokens; `salt` is random.
    pub fn new(tokens: &[String], salt: [u8; RANDOM_BYTES]) -> Self {
        let keys = tokens.iter().map(|token| {
            let token =
                stringprep::saslprep(token).map_or_else(|_| token.clone(), |prepared| prepared.into_owned());
            let mut salted = [0; HASH_BYTES];
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, token.as_bytes(), &mut salted);
            Keys { stored: hash(&mac(&salted, b"Client Key")), server: mac(&salted, b"Server Key") }
        });
        Self { keys: keys.collect(), salt: BASE64.encode(salt) }
    }

    /// True when there is no token: everybody may.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The hub's answer to the client's first message; `None` when that is none. `nonce` is random.
    pub fn begin(&self, first: &[u8], nonce: [u8; RANDOM_BYTES]) -> Option<(Exchange, String)> {
        let first = std::str::from_utf8(first).ok()?;
        // n: no channel binding; y: the client has it and believes that the hub has not, which is true.
        let header_bytes = first.strip_prefix("n,").or_else(|| first.strip_prefix("y,"))?.find(',')? + 3;
        let (header, bare) = first.split_at(header_bytes);
        let theirs = bare.split(',').find_map(|field| field.strip_prefix("r="))?;
        if theirs.is_empty() || !bare.starts_with("n=") {
            return None;
        }
        let nonce = format!("{theirs}{}", BASE64.encode(nonce));
        let reply = format!("r={nonce},s={},i={ITERATIONS}", self.salt);
        let said = format!("{bare},{reply}");
        Some((Exchange { said, nonce, header: BASE64.encode(header) }, reply))
    }

    /// The hub's last word, if the client's proof fits a token.
    pub fn finish(&self, exchange: &Exchange, last: &[u8]) -> Option<String> {
        let last = std::str::from_utf8(last).ok()?;
        let (without_proof, proof) = last.rsplit_once(",p=")?;
        let mut fields = without_proof.split(',');
        let binding = fields.next()?.strip_prefix("c=")?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        let proof: Hash = BASE64.decode(proof).ok()?.try_into().ok()?;
        if binding != exchange.header || nonce != exchange.nonce {
            return None;
        }
        let message = format!("{},{without_proof}", exchange.said);
        let mut found = None;
        for keys in &self.keys {
            if keys.proved(&proof, message.as_bytes()) {
                found = Some(mac(&keys.server, message.as_bytes()));
            }
        }
        found.map(|signature| format!("v={}", BASE64.encode(signature)))
    }
}

impl Keys {
    fn proved(&self, proof: &Hash, message: &[u8]) -> bool {
        let mut key = mac(&self.stored, message);
        key.iter_mut().zip(proof).for_each(|(key, proof)| *key ^= proof);
        let difference = hash(&key).iter().zip(&self.stored).fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// A dialogue under way.
#[derive(Debug)]
pub struct Exchange {
    said: String,
    nonce: String,
    header: String,
}

fn mac(key: &Hash, message: &[u8]) -> Hash {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(tag.as_ref());
    hash
}

fn hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Random bytes of the system's, for salts and nonces.
pub fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, with its salt and nonces.
    #[test]
    fn the_rfcs_dialogue() {
        let verifiers = Verifiers { salt: "W22ZaJ0SNY7soEsUEjb6gQ==".into(), keys: vec![rfc_keys()] };
        let exchange = Exchange {
            said: "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
                .into(),
            nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into(),
            header: "biws".into(),
        };
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                     p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let reply = verifiers.finish(&exchange, last);
        assert_eq!(reply.as_deref(), Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    fn rfc_keys() -> Keys {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let mut salted = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, b"pencil", &mut salted);
        Keys { stored: hash(&mac(&salted, b"Client Key")), server: mac(&salted, b"Server Key") }
    }

    #[test]
    fn a_wrong_word_ends_it() {
        let verifiers = Verifiers::new(&["secret".into()], [7; RANDOM_BYTES]);
        assert_eq!(format!("{verifiers:?}"), "<1 hidden>");
        for first in ["", "n", "n,,", "n,,n=,r=", "p=tls-unique,,n=,r=abc", "n,,r=abc", "x,,n=,r=abc"] {
            assert!(verifiers.begin(first.as_bytes(), [1; RANDOM_BYTES]).is_none(), "{first}");
        }
        let (exchange, reply) = verifiers.begin(b"n,,n=,r=abc", [1; RANDOM_BYTES]).expect("begins");
        assert!(reply.starts_with("r=abc") && reply.ends_with(",i=4096"));
        let nonce = &exchange.nonce;
        let zeros = BASE64.encode([0; HASH_BYTES]);
        for last in [
            String::new(),
            format!("c=biws,r={nonce},p={zeros}"),
            format!("c=biws,r=other,p={zeros}"),
            format!("c=eSws,r={nonce},p={zeros}"),
            format!("c=biws,r={nonce},p=AAAA"),
            format!("c=biws,r={nonce}"),
        ] {
            assert!(verifiers.finish(&exchange, last.as_bytes()).is_none(), "{last}");
        }
    }
}
