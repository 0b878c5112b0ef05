// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace dt2it {

// Images by content and by perceptual hash: finds all whose hash differs in at most so many of 64
// bits. 69 bytes an image. Looks at hashes in four bands of 16 bits: where two differ in at most d
// bits, one band differs in at most d / 4, so that all values of a band that near are looked up
// (Norouzi et al., multi-index hashing). Thread-safe once built.
class ImageIndex {
 public:
  struct Hit {
    std::uint32_t image;  // by the order of add()
    int distance;         // bits; 0 with `exact` for the same bytes
    bool exact;
  };

  // `content`: 64 bits of a hash of the bytes.
  void add(std::uint64_t content, std::uint64_t perceptual);
  void build();  // after the last add()

  // All hits, nearest first.
  std::vector<Hit> find(std::uint64_t content, std::uint64_t perceptual, int max_distance) const;

  std::size_t size() const { return perceptual_.size(); }
  std::size_t bytes() const;

 private:
  static constexpr int kBands = 4;
  std::vector<std::uint64_t> content_, perceptual_;
  std::vector<std::uint32_t> by_content_;  // sorted
  std::array<std::vector<std::uint32_t>, kBands>
      begins_;  // per value of a band: where its images begin
  std::array<std::vector<std::uint32_t>, kBands> images_;
  std::array<std::vector<std::uint64_t>, kBands>
      hashes_;  // of these images: what lies together is looked at together
};

}  // namespace dt2it
