#include "sha256.hpp"

#include <openssl/evp.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "bitfall/errors.hpp"

namespace bitfall {

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  BITFALL_ASSERT(context_ != nullptr, "OpenSSL has no memory");
  BITFALL_ASSERT(EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1, "OpenSSL has no SHA-256");
}

Sha256::~Sha256() {
  EVP_MD_CTX_free(context_);
}

void Sha256::add(std::string_view bytes) {
  BITFALL_ASSERT(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1, "OpenSSL");
}

void Sha256::add(std::span<const std::uint8_t> bytes) {
  add(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

Digest Sha256::finish() {
  Digest digest{};
  BITFALL_ASSERT(EVP_DigestFinal_ex(context_, digest.data(), nullptr) == 1, "OpenSSL");
  return digest;
}

Digest sha256(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.finish();
}

Digest sha256(std::span<const std::uint8_t> bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.finish();
}

std::string to_hex(const Digest& digest) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : digest) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

}  // namespace bitfall
