//! Plans as bytes: postcard of [`Plan`], one encoding per plan (`FORMAT.md`, "Plans").

use super::{Op, Plan};
use crate::codec::DecodeError;
use alloc::vec::Vec;

impl Plan {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to a growing vector cannot fail, and no field serialises conditionally.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    /// Reads a plan; bytes that [`Plan::to_bytes`] would not write are refused. The plan still has to be
    /// validated against its stream ([`Plan::validate`]).
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Trailing`]; [`DecodeError::Invalid`] when it is no plan, and
    /// [`DecodeError::Overlong`] when it is one that would be written in another way.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (plan, rest) = postcard::take_from_bytes::<Self>(bytes).map_err(|error| match error {
            postcard::Error::DeserializeUnexpectedEnd => DecodeError::Truncated,
            _ => DecodeError::Invalid("plan"),
        })?;
        if !rest.is_empty() {
            return Err(DecodeError::Trailing);
        }
        if plan.to_bytes() != bytes { Err(DecodeError::Overlong) } else { Ok(plan) }
    }
}

impl Op {
    /// Calls `f` with every operand, in order.
    pub fn operands(&self, f: &mut dyn FnMut(super::ExprId)) {
        match self {
            Self::Column(_) | Self::Literal(_) => {}
            Self::Not(x)
            | Self::Negate(x)
            | Self::IsNull(x)
            | Self::IsNotNull(x)
            | Self::IsTrue(x)
            | Self::IsFalse(x)
            | Self::Cast { input: x, .. } => f(*x),
            Self::Binary(_, a, b) => {
                f(*a);
                f(*b);
            }
            Self::Like { input, pattern, .. } => {
                f(*input);
                f(*pattern);
            }
            Self::Case { branches, otherwise } => {
                for (when, then) in branches {
                    f(*when);
                    f(*then);
                }
                otherwise.iter().for_each(|x| f(*x));
            }
            Self::InList { input, list, .. } => {
                f(*input);
                list.iter().for_each(|x| f(*x));
            }
            Self::Call(_, args) => args.iter().for_each(|x| f(*x)),
        }
    }
}
