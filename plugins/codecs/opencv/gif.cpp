// SPDX-License-Identifier: Apache-2.0
#include "plugins/codecs/opencv/gif.hpp"

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

namespace dt2it {
namespace {

constexpr std::uint64_t kLargest = std::uint64_t{1}
                                   << 28;  // pixels; far above what the host lets through
constexpr int kNoCode = -1;

// Reads on from a place; behind the end everything is 0 and `past_end` is set.
struct Reader {
  std::span<const std::uint8_t> bytes;
  std::size_t at = 0;
  bool past_end = false;

  int byte() {
    if (at < bytes.size()) return bytes[at++];
    past_end = true;
    return 0;
  }
  int word() {
    const int low = byte();
    return low | byte() << 8;
  }
  void skip(std::size_t count) {
    past_end = past_end || count > bytes.size() - at;
    at = past_end ? bytes.size() : at + count;
  }
  std::span<const std::uint8_t> take(std::size_t count) {
    const std::size_t begin = at;
    skip(count);
    return past_end ? std::span<const std::uint8_t>() : bytes.subspan(begin, count);
  }
};

// The bytes of a chain of blocks, which an empty block ends.
std::vector<std::uint8_t> take_blocks(Reader& in) {
  std::vector<std::uint8_t> data;
  for (int size = in.byte(); size > 0; size = in.byte()) {
    const auto block = in.take(static_cast<std::size_t>(size));
    data.insert(data.end(), block.begin(), block.end());
  }
  return data;
}

// Codes of growing width, lowest bits first, each a byte more than an earlier string. Nothing when the data
// end before `count` indices or name a code that is not there yet.
std::optional<std::vector<std::uint8_t>> decompress(std::span<const std::uint8_t> data,
                                                    int root_bits, std::size_t count) {
  struct Entry {
    int before = kNoCode;  // code of the string without its last byte
    std::uint8_t last = 0;
    std::uint8_t first = 0;
  };
  std::array<Entry, 4096> table;
  const int clear = 1 << root_bits, end = clear + 1;
  for (int i = 0; i < clear; ++i)
    table[i] = {kNoCode, static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i)};

  std::vector<std::uint8_t> out;
  std::vector<std::uint8_t> backwards;
  int width = root_bits + 1, next = end + 1, previous = kNoCode;
  std::uint32_t bits = 0;
  int held = 0;
  for (std::size_t at = 0; out.size() < count;) {
    while (held < width) {
      if (at == data.size()) return std::nullopt;
      bits |= std::uint32_t{data[at++]} << held;
      held += 8;
    }
    const int code = static_cast<int>(bits & ((1u << width) - 1));
    bits >>= width;
    held -= width;
    if (code == clear) {
      width = root_bits + 1;
      next = end + 1;
      previous = kNoCode;
      continue;
    }
    // The only code that may be ahead of the table is the one which this step adds.
    if (code == end || code > next || (code == next && previous == kNoCode)) return std::nullopt;
    if (previous == kNoCode && code > end) return std::nullopt;
    const std::uint8_t first = code == next ? table[previous].first : table[code].first;
    if (previous != kNoCode && next < 4096) {
      table[next] = {previous, first, table[previous].first};
      if (++next == 1 << width && width < 12) ++width;
    } else if (code == next) {
      return std::nullopt;  // the table is full
    }
    backwards.clear();
    for (int c = code; c != kNoCode; c = table[c].before) backwards.push_back(table[c].last);
    out.insert(out.end(), backwards.rbegin(), backwards.rend());
    previous = code;
  }
  out.resize(count);
  return out;
}

// The line of the frame that the n-th stored line is: every 8th, the ones between, and so on.
std::vector<int> line_order(int height, bool interlaced) {
  std::vector<int> order;
  if (!interlaced) {
    for (int y = 0; y < height; ++y) order.push_back(y);
    return order;
  }
  constexpr int kPasses[4][2] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
  for (const auto& [begin, step] : kPasses)
    for (int y = begin; y < height; y += step) order.push_back(y);
  return order;
}

DecodedImage failed(const char* detail) { return {Status::missing_media, {}, detail}; }

}  // namespace

DecodedImage decode_gif(std::span<const std::uint8_t> bytes) {
  Reader in{bytes};
  in.skip(6);
  const int width = in.word(), height = in.word();
  const int flags = in.byte();
  in.skip(2);
  std::span<const std::uint8_t> colours;
  if (flags & 0x80) colours = in.take(std::size_t{3} << ((flags & 7) + 1));
  if (in.past_end || width == 0 || height == 0) return failed("the header of the GIF is damaged");
  if (std::uint64_t(width) * std::uint64_t(height) > kLargest)
    return failed("the GIF is too large");

  int transparent = 0;  // what the canvas is filled with
  for (;;) {
    const int block = in.byte();
    if (in.past_end || block == 0x3B) return failed("the GIF has no complete frame");
    if (block == 0x21) {  // an extension
      const int label = in.byte();
      const std::vector<std::uint8_t> data = take_blocks(in);
      if (label == 0xF9 && data.size() >= 4 && (data[0] & 1)) transparent = data[3];
      continue;
    }
    if (block != 0x2C) return failed("the GIF is damaged");
    break;
  }
  const int left = in.word(), top = in.word(), frame_width = in.word(), frame_height = in.word();
  const int frame_flags = in.byte();
  if (frame_flags & 0x80) colours = in.take(std::size_t{3} << ((frame_flags & 7) + 1));
  const int root_bits = in.byte();
  if (in.past_end || root_bits < 1 || root_bits > 8) return failed("the GIF is damaged");
  if (left + frame_width > width || top + frame_height > height)
    return failed("the first frame of the GIF does not fit its canvas");
  const std::vector<std::uint8_t> data = take_blocks(in);
  const auto indices = decompress(
      data, root_bits, std::size_t(frame_width) * static_cast<std::size_t>(frame_height));
  if (!indices) return failed("the GIF is cut off or damaged");

  DecodedImage result{Status::ok, {width, height, {}}, "first frame"};
  result.image.rgb.resize(std::size_t{3} * std::size_t(width) * static_cast<std::size_t>(height));
  auto put = [&](std::size_t pixel, std::size_t index) {
    for (std::size_t c = 0; c < 3; ++c) {
      // Without a table an index is a grey level; behind the end of one, black.
      const auto grey = static_cast<std::uint8_t>(colours.empty() ? index : 0);
      result.image.rgb[pixel * 3 + c] =
          index * 3 + c < colours.size() ? colours[index * 3 + c] : grey;
    }
  };
  for (std::size_t i = 0; i < std::size_t(width) * std::size_t(height); ++i)
    put(i, static_cast<std::size_t>(transparent));
  std::size_t from = 0;
  for (const int y : line_order(frame_height, frame_flags & 0x40))
    for (int x = 0; x < frame_width; ++x)
      put(std::size_t(top + y) * std::size_t(width) + std::size_t(left + x), (*indices)[from++]);
  return result;
}

}  // namespace dt2it
