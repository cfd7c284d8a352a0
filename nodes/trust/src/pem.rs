//! A signing key as cryptographic tools read it.

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, KeypairBytes};
use zeroize::Zeroizing;

use crate::TrustError;

/// An Ed25519 secret as PKCS#8 in PEM (RFC 8410, section 7; RFC 7468).
///
/// Version 1, without the public key: OpenSSL does not read version 2.
///
/// # Errors
/// The key cannot be encoded.
pub fn signing_key_to_pem(secret: &[u8; 32]) -> Result<Zeroizing<String>, TrustError> {
    let key = KeypairBytes { secret_key: *secret, public_key: None };
    key.to_pkcs8_pem(LineEnding::LF).map_err(|_| TrustError::Encoding("the signing key"))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use ed25519_dalek::pkcs8::DecodePrivateKey as _;

    use super::*;

    /// The example of RFC 8410, section 10.3.
    #[test]
    fn is_the_file_of_the_rfc() {
        let secret =
            damc_wire::hex::from_hex("d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842").unwrap();
        let secret = secret.try_into().unwrap();
        let pem = signing_key_to_pem(&secret).unwrap();
        let expected = "-----BEGIN PRIVATE KEY-----\n\
                        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                        -----END PRIVATE KEY-----\n";
        assert_eq!(*pem, expected);
        assert_eq!(SigningKey::from_pkcs8_pem(&pem).unwrap().to_bytes(), secret);
    }
}
