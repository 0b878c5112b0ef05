// SPDX-License-Identifier: Apache-2.0
// Parquet files with damaged metadata: refused with a DataError, or records.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/loaded_plugin.hpp"
#include "tests/paths.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dt2it;
  static dt2it::testing::FakeContext context;
  static const dt2it::testing::LoadedPlugin plugin(
      build_path("/lib/dt2it/plugins/datasets/parquet.so"));
  static const auto path = context.scratch() / "fuzz.parquet";
  std::ofstream(path, std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    const auto dataset = plugin.make<Dataset>("parquet", {{"file", Value{path.string()}}}, context);
    const auto stream = dataset->answers({});
    AnswerRecord record;
    for (int left = 1000; left > 0 && stream->next(record); --left) {
    }
  } catch (const DataError&) {
  }
  return 0;
}
