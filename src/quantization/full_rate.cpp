// What the price of codes needs to know of FullDescent.
#include <cmath>
#include <cstddef>

#include "parallel/threads.hpp"
#include "quantization/full_descent.hpp"

namespace bitfall {

double FullDescent::error_unit() const {
  return std::ldexp(gram_.unit(), -2 * exponent_);
}

/// As in sweep_rows: block j of a row has the score c^T H_jj c / 2 - <b, c>, b = P_j + H_jj c_old.
std::vector<Alternative> FullDescent::alternatives(std::span<const float> penalties) const {
  const std::vector<float> half_norms = this->half_norms(penalties);
  std::vector<Alternative> own(codes_.size());
  parallel_for(m_, threads_, [&](std::int64_t j) {
    const float* gram = diagonal_.data() + j * d_ * d_;
    const AlternativeFinder finder(
        scaled_,
        std::span(half_norms).subspan(static_cast<std::size_t>(j * k_), static_cast<std::size_t>(k_)));
    std::vector<float> point(static_cast<std::size_t>(d_));
    for (std::int64_t r = 0; r < local_rows(); ++r) {
      const auto block = static_cast<std::size_t>(r * m_ + j);
      const float* codeword = scaled_.data() + codes_[block] * d_;
      const float* product = products_.data() + r * stride_ + j * d_;
      for (std::int64_t a = 0; a < d_; ++a) {
        float sum = product[a];
        for (std::int64_t b = 0; b < d_; ++b) sum = sum + gram[a * d_ + b] * codeword[b];
        point[static_cast<std::size_t>(a)] = sum;
      }
      own[block] = finder.find(point.data(), 1, codes_[block]);
      own[block].loss *= error_unit();
    }
  });
  return communicator_.all_gather(std::span<const Alternative>(own));
}

}  // namespace bitfall
