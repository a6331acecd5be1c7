#pragma once
/// A tar written by hand from POSIX.1-1988 (ustar), POSIX.1-2001 (pax) and GNU tar's manual, so that the
/// tests can break any field of it.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

#include "sample_images.hpp"

namespace bitfall::test {

/// A number in a field of `width` bytes: octal digits and a final NUL.
inline std::string octal(std::uint64_t value, std::size_t width) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%0*llo", static_cast<int>(width) - 1,
                static_cast<unsigned long long>(value));
  return digits + std::string(1, '\0');
}

/// Sets the checksum of a header: the sum of its bytes with the checksum field read as spaces.
inline void set_checksum(std::string& header) {
  header.replace(148, 8, 8, ' ');
  unsigned sum = 0;
  for (const char byte : header) sum += static_cast<unsigned char>(byte);
  header.replace(148, 8, octal(sum, 7) + " ");
}

inline std::string tar_header(const std::string& name, std::uint64_t size, char type) {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  header.replace(100, 8, octal(0644, 8));
  header.replace(108, 8, octal(0, 8));
  header.replace(116, 8, octal(0, 8));
  header.replace(124, 12, octal(size, 12));
  header.replace(136, 12, octal(0, 12));
  header[156] = type;
  header.replace(257, 8, std::string("ustar\00000", 8));
  set_checksum(header);
  return header;
}

inline std::string padded(std::string data) {
  data.resize((data.size() + 511) / 512 * 512);
  return data;
}

inline std::string tar_entry(const std::string& name, const std::string& data, char type = '0') {
  return tar_header(name, data.size(), type) + padded(data);
}

inline std::string tar_end() {
  return std::string(1024, '\0');
}

/// "LENGTH KEY=VALUE\n", the length counting itself.
inline std::string pax_record(const std::string& key, const std::string& value) {
  const std::string rest = " " + key + "=" + value + "\n";
  std::size_t length = rest.size() + 1;
  while (std::to_string(length).size() + rest.size() != length) ++length;
  return std::to_string(length) + rest;
}

/// KEY.jpg and KEY.cls, the image decided by the label.
inline std::string tar_sample(const std::string& key, int label) {
  return tar_entry(key + ".jpg", sample_jpeg(16, 12, static_cast<std::uint64_t>(label))) +
         tar_entry(key + ".cls", std::to_string(label));
}

}  // namespace bitfall::test
