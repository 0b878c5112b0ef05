// SPDX-License-Identifier: Apache-2.0
#include "plugins/curators/decontaminate/image_index.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <tuple>

namespace dt2it {
namespace {

constexpr std::uint32_t kValues = 1u << 16;

std::uint32_t band(std::uint64_t hash, int b) {
  return static_cast<std::uint32_t>(hash >> (16 * b)) & (kValues - 1);
}

// Masks of 16 bits with at most `bits` set.
std::vector<std::uint32_t> masks_up_to(int bits) {
  std::vector<std::uint32_t> masks;
  for (std::uint32_t mask = 0; mask < kValues; ++mask)
    if (std::popcount(mask) <= bits) masks.push_back(mask);
  return masks;
}

}  // namespace

void ImageIndex::add(std::uint64_t content, std::uint64_t perceptual) {
  content_.push_back(content);
  perceptual_.push_back(perceptual);
}

void ImageIndex::build() {
  content_.shrink_to_fit();
  perceptual_.shrink_to_fit();
  by_content_.resize(size());
  std::iota(by_content_.begin(), by_content_.end(), 0u);
  std::sort(by_content_.begin(), by_content_.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::pair(content_[a], a) < std::pair(content_[b], b);
  });
  for (int b = 0; b < kBands; ++b) {
    std::vector<std::uint32_t>& begins = begins_[static_cast<std::size_t>(b)];
    std::vector<std::uint32_t>& images = images_[static_cast<std::size_t>(b)];
    begins.assign(kValues + 1, 0);
    for (const std::uint64_t hash : perceptual_) ++begins[band(hash, b) + 1];
    for (std::uint32_t value = 0; value < kValues; ++value) begins[value + 1] += begins[value];
    images.resize(size());
    std::vector<std::uint32_t> next(begins.begin(), begins.end() - 1);
    for (std::uint32_t i = 0; i < size(); ++i) images[next[band(perceptual_[i], b)]++] = i;
    std::vector<std::uint64_t>& hashes = hashes_[static_cast<std::size_t>(b)];
    hashes.resize(size());
    for (std::size_t at = 0; at < images.size(); ++at) hashes[at] = perceptual_[images[at]];
  }
}

std::vector<ImageIndex::Hit> ImageIndex::find(std::uint64_t content, std::uint64_t perceptual,
                                              int max_distance) const {
  std::vector<Hit> hits;
  const auto by_content = std::lower_bound(
      by_content_.begin(), by_content_.end(), content,
      [&](std::uint32_t image, std::uint64_t value) { return content_[image] < value; });
  for (auto it = by_content; it != by_content_.end() && content_[*it] == content; ++it)
    hits.push_back({*it, 0, true});
  if (max_distance >= 0 && size() > 0) {
    thread_local std::vector<std::uint32_t> masks;
    thread_local int masks_for = -1;
    if (masks_for != max_distance / kBands) {
      masks_for = max_distance / kBands;
      masks = masks_up_to(masks_for);
    }
    for (int b = 0; b < kBands; ++b) {
      const std::uint32_t value = band(perceptual, b);
      const auto& begins = begins_[static_cast<std::size_t>(b)];
      const auto& hashes = hashes_[static_cast<std::size_t>(b)];
      // Asked for together before they are looked at one by one: else each would be waited for.
      for (const std::uint32_t mask : masks)
        if (const std::uint32_t at = begins[value ^ mask]; at < hashes.size())
          __builtin_prefetch(&hashes[at]);
      for (const std::uint32_t mask : masks) {
        const std::uint32_t near = value ^ mask;
        for (std::uint32_t at = begins[near]; at < begins[near + 1]; ++at) {
          const std::uint64_t difference = hashes[at] ^ perceptual;
          const int distance = std::popcount(difference);
          if (distance > max_distance) continue;
          const std::uint32_t image = images_[static_cast<std::size_t>(b)][at];
          if (content_[image] == content) continue;  // it is among the exact ones
          bool seen = false;                         // by an earlier band
          for (int before = 0; before < b && !seen; ++before)
            seen = std::popcount(band(difference, before)) <= masks_for;
          if (!seen) hits.push_back({image, distance, false});
        }
      }
    }
  }
  std::sort(hits.begin(), hits.end(), [](const Hit& a, const Hit& b) {
    return std::tuple(!a.exact, a.distance, a.image) < std::tuple(!b.exact, b.distance, b.image);
  });
  return hits;
}

std::size_t ImageIndex::bytes() const {
  std::size_t sum = (content_.capacity() + perceptual_.capacity()) * sizeof(std::uint64_t) +
                    by_content_.capacity() * sizeof(std::uint32_t);
  for (int b = 0; b < kBands; ++b)
    sum += hashes_[static_cast<std::size_t>(b)].capacity() * sizeof(std::uint64_t) +
           (begins_[static_cast<std::size_t>(b)].capacity() +
            images_[static_cast<std::size_t>(b)].capacity()) *
               sizeof(std::uint32_t);
  return sum;
}

}  // namespace dt2it
