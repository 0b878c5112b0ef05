// SPDX-License-Identifier: Apache-2.0
#include "plugins/codecs/opencv/video.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <new>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <vector>

#include "core/media/media_type.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

// FFmpeg also reads lists of other files and streams: only files that begin like films get to it.
void check_type(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  Bytes head(4096);
  stream.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(stream.gcount()));
  const MediaType type = sniff_media(head);
  if (!type.video())
    throw DataError(type.mime.empty() ? "not a video of a known type"
                                      : fmt::format("{} is no video", type.mime));
}

struct Reader {
  cv::VideoCapture capture;
  VideoInfo info;

  Reader(const std::filesystem::path& file, std::int64_t max_pixels) {
    if (!capture.open(file.string(), cv::CAP_FFMPEG))
      throw DataError("the video is damaged or has no pictures");
    capture.set(cv::CAP_PROP_ORIENTATION_AUTO, 0);
    const auto number = [&](int property) {
      const double value = capture.get(property);
      return std::isfinite(value) && value > 0 && value < 1e15 ? value : 0;
    };
    info.frames = static_cast<std::int64_t>(number(cv::CAP_PROP_FRAME_COUNT));
    info.fps = number(cv::CAP_PROP_FPS);
    info.width = static_cast<int>(std::min(number(cv::CAP_PROP_FRAME_WIDTH), 1e9));
    info.height = static_cast<int>(std::min(number(cv::CAP_PROP_FRAME_HEIGHT), 1e9));
    if (info.width < 1 || info.height < 1)
      throw DataError("the video is damaged or has no pictures");
    if (std::int64_t{info.width} * info.height > max_pixels)
      throw DataError(fmt::format("frames of {} x {} pixels are more than the {} that are decoded",
                                  info.width, info.height, max_pixels));
    if (info.fps < 1e-3)
      throw DataError("the video does not say how fast its frames follow each other");
    set_frames(info.frames);
  }

  void set_frames(std::int64_t frames) {
    info.frames = frames;
    info.seconds = static_cast<double>(frames) / info.fps;
  }

  // Takes the frames that are there; how many the video has where it ended before all were taken,
  // else nothing.
  std::int64_t read(const VideoReading& reading, std::vector<std::int64_t>& chosen) {
    chosen = reading.choose(info);
    std::int64_t next = 0;  // the frame that comes with the next grab
    cv::Mat pixels;
    for (const std::int64_t number : chosen) {
      for (; next <= number; ++next)
        if (!capture.grab()) return next;
      if (!capture.retrieve(pixels) || pixels.type() != CV_8UC3)
        throw DataError(fmt::format("frame {} is damaged", number));
      Image frame{pixels.cols, pixels.rows, {}};
      frame.rgb.resize(pixels.total() * 3);
      cv::Mat rgb(pixels.rows, pixels.cols, CV_8UC3, frame.rgb.data());
      cv::cvtColor(pixels, rgb, cv::COLOR_BGR2RGB);
      reading.take(std::move(frame));
    }
    return -1;
  }
};

}  // namespace

DecodedVideo read_video(const std::filesystem::path& file, const VideoReading& reading,
                        std::int64_t max_pixels) {
  DecodedVideo result;
  try {
    check_type(file);
    auto reader = std::make_unique<Reader>(file, max_pixels);
    std::int64_t true_frames = reader->info.frames;
    // A container without a count (some say 0, some what their length suggests): as many as come.
    if (true_frames == 0)
      for (; reader->capture.grab();) ++true_frames;
    else
      true_frames = reader->read(reading, result.chosen);
    if (true_frames >= 0) {
      if (true_frames == 0) throw DataError("the video has no frames that can be decoded");
      reader = std::make_unique<Reader>(file, max_pixels);
      reader->set_frames(true_frames);
      if (reader->read(reading, result.chosen) >= 0) throw DataError("the video is damaged");
    }
    result.info = reader->info;
    result.status = Status::ok;
    return result;
  } catch (const DataError& error) {
    result.detail = error.what();
  } catch (const cv::Exception& error) {
    result.detail = error.err.empty() ? "the video is damaged" : error.err;
  } catch (const std::bad_alloc&) {
    result.detail = "not enough memory for the video";
  }
  result.chosen.clear();
  return result;
}

}  // namespace dt2it
