// A plan as JSON for programs and as a table for people.
#include <algorithm>
#include <array>
#include <cstddef>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "bitfall/plan.hpp"

namespace bitfall {
namespace {

constexpr double mib = 1024.0 * 1024.0;

/// One row of the table: layer, weight, d, k, blocks, codes, codebook, bits a weight.
using Row = std::array<std::string, 8>;

nlohmann::ordered_json layer_json(const LayerPlan& plan) {
  nlohmann::ordered_json json;
  json["name"] = plan.layer.name;
  json["kind"] = to_string(plan.layer.kind);
  json["weight_shape"] = plan.layer.weight_shape;
  json["groups"] = plan.layer.groups;
  json["quantized"] = plan.quantized;
  if (!plan.quantized) {
    json["reason"] = plan.reason;
    return json;
  }
  json["metric"] = to_string(plan.metric);
  json["d"] = plan.d;
  json["k"] = plan.k;
  json["requested_k"] = plan.requested_k;
  if (plan.bit_price > 0) json["bit_price"] = plan.bit_price;
  json["m"] = plan.m;
  json["n"] = plan.n;
  json["code_bits"] = plan.code_bits();
  json["codes_bytes"] = plan.codes_bytes();
  json["codebook_bytes"] = plan.codebook_bytes();
  return json;
}

nlohmann::ordered_json sizes_json(const Sizes& sizes) {
  return {{"original_bytes", sizes.original_bytes},
          {"codes_bytes", sizes.codes_bytes},
          {"codebooks_bytes", sizes.codebooks_bytes},
          {"kept_elements", sizes.kept_elements},
          {"information_bytes", sizes.information_bytes()},
          {"information_bytes_fp16", sizes.information_bytes_fp16()},
          {"original_mib", double(sizes.original_bytes) / mib},
          {"information_mib", double(sizes.information_bytes()) / mib},
          {"information_mib_fp16", double(sizes.information_bytes_fp16()) / mib},
          {"ratio", sizes.ratio()}};
}

std::string fixed(double value, int digits) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << value;
  return text.str();
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

Row table_row(const LayerPlan& plan) {
  Row row{plan.layer.name, shape_text(plan.layer.weight_shape)};
  if (!plan.quantized) return row;
  const double bits =
      8.0 * double(plan.codes_bytes() + plan.codebook_bytes()) / double(plan.layer.elements());
  row[2] = std::to_string(plan.d);
  row[3] = std::to_string(plan.k);
  row[4] = std::to_string(plan.n);
  row[5] = std::to_string(plan.codes_bytes());
  row[6] = std::to_string(plan.codebook_bytes());
  row[7] = fixed(bits, 2);
  return row;
}

void write_row(std::ostream& out, const Row& row, const std::array<std::size_t, 8>& widths) {
  for (std::size_t column = 0; column < row.size(); ++column) {
    out << (column < 2 ? std::left : std::right) << (column == 0 ? "" : "  ")
        << std::setw(static_cast<int>(widths[column])) << row[column];
  }
}

/// "codes             663040 bytes     0.632 MiB" and what follows.
std::string total_line(const std::string& what, std::int64_t bytes, const std::string& remark) {
  std::ostringstream line;
  line << std::left << std::setw(24) << what << std::right << std::setw(13) << bytes << " bytes"
       << std::setw(10) << fixed(double(bytes) / mib, 3) << " MiB" << (remark.empty() ? "" : "  " + remark)
       << '\n';
  return line.str();
}

std::string totals(const Plan& plan) {
  const Sizes& sizes = plan.sizes;
  const auto times = [&](std::int64_t bytes) {
    return fixed(double(sizes.original_bytes) / double(std::max<std::int64_t>(bytes, 1)), 2) +
           " times smaller";
  };
  std::string text = std::to_string(plan.quantized_layers()) + " of " + std::to_string(plan.layers.size()) +
                     " layers quantized (regime " + std::string(to_string(plan.regime)) + ", preset " +
                     plan.preset + ")\n";
  text += total_line("original, fp32", sizes.original_bytes, "");
  text += total_line("codes", sizes.codes_bytes, "");
  text += total_line("codebooks, fp16", sizes.codebooks_bytes, "");
  text += total_line("the rest, fp32", 4 * sizes.kept_elements, "batch norms folded to 2 values a channel");
  text += total_line("total", sizes.information_bytes(), times(sizes.information_bytes()));
  text += total_line("total, the rest in fp16", sizes.information_bytes_fp16(),
                     times(sizes.information_bytes_fp16()));
  return text;
}

}  // namespace

std::string to_json(const Plan& plan) {
  nlohmann::ordered_json json;
  json["regime"] = to_string(plan.regime);
  json["preset"] = plan.preset;
  json["quantized_layers"] = plan.quantized_layers();
  json["layers"] = nlohmann::ordered_json::array();
  for (const LayerPlan& layer : plan.layers) json["layers"].push_back(layer_json(layer));
  json["sizes"] = sizes_json(plan.sizes);
  return json.dump();
}

std::string to_table(const Plan& plan) {
  const Row header{"layer", "weight", "d", "k", "blocks", "codes B", "codebook B", "bits/weight"};
  std::vector<Row> rows;
  for (const LayerPlan& layer : plan.layers) rows.push_back(table_row(layer));
  std::array<std::size_t, 8> widths{};
  for (std::size_t column = 0; column < header.size(); ++column) {
    widths[column] = header[column].size();
    for (const Row& row : rows) widths[column] = std::max(widths[column], row[column].size());
  }
  std::ostringstream out;
  write_row(out, header, widths);
  out << '\n';
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (plan.layers[i].quantized) {
      write_row(out, rows[i], widths);
    } else {  // the reason takes the place of the numbers
      out << std::left << std::setw(static_cast<int>(widths[0])) << rows[i][0] << "  "
          << std::setw(static_cast<int>(widths[1])) << rows[i][1]
          << "  left alone: " << plan.layers[i].reason;
    }
    out << '\n';
  }
  return out.str() + '\n' + totals(plan);
}

}  // namespace bitfall
