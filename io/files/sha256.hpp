#pragma once
/// SHA-256 (FIPS 180-4) of bytes.
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace bitfall {

using Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void add(std::string_view bytes);
  void add(std::span<const std::uint8_t> bytes);
  [[nodiscard]] Digest finish();  ///< once, at the end

 private:
  evp_md_ctx_st* context_;
};

[[nodiscard]] Digest sha256(std::string_view bytes);
[[nodiscard]] Digest sha256(std::span<const std::uint8_t> bytes);
[[nodiscard]] std::string to_hex(const Digest& digest);

}  // namespace bitfall
