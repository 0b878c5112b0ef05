// SPDX-License-Identifier: Apache-2.0
#include "core/cli/system_check.hpp"

#include <curl/curl.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <cstdlib>
#include <regex>
#include <set>
#include <thread>

#include "core/cli/verbs.hpp"
#include "core/report/html.hpp"
#include "core/util/files.hpp"
#include "core/util/program_version.hpp"

namespace dt2it::cli {

namespace fs = std::filesystem;
using State = Finding::State;

namespace {

// A path as people read it: programs that can be moved find their parts by `..`.
std::string shown(const fs::path& path) { return path.lexically_normal().string(); }

// Libraries that plugins stand on, shown where they are loaded.
std::string loaded_library(const std::string& name) {
  struct Search {
    const std::string& name;
    std::string path;
  } search{name, {}};
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& wanted = *static_cast<Search*>(data);
        const std::string path = info->dlpi_name ? info->dlpi_name : "";
        if (path.find(wanted.name) != std::string::npos) wanted.path = path;
        return wanted.path.empty() ? 0 : 1;
      },
      &search);
  return search.path;
}

void check_plugins(const SystemOptions& options, std::vector<Finding>& findings) {
  CommonOptions common;
  common.plugin_path = options.plugin_path;
  Installation installation(common);
  std::size_t count = 0;
  for (const std::string& kind : installation.registry.kinds())
    count += installation.registry.of_kind(kind).size();
  std::string folders;
  std::vector<fs::path> found;
  for (const fs::path& folder : PluginRegistry::default_search_path(options.plugin_path))
    if (fs::is_directory(folder)) {
      folders += " " + shown(folder);
      found.push_back(folder);
    }
  findings.push_back({folders.empty() ? State::missing : State::good, "plugins",
                      folders.empty() ? "no folder of plugins is found"
                                      : fmt::format("{} components in{}", count, folders)});
  for (const std::string& problem : installation.registry.problems())
    findings.push_back({State::missing, "plugin", problem});
  // Each library's own libraries: a file that is there may still not load.
  for (const fs::path& folder : found)
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.path().extension() == ".so" &&
          !dlopen(entry.path().c_str(), RTLD_LAZY | RTLD_LOCAL))
        findings.push_back({State::missing, "plugin", dlerror()});
  const struct {
    const char* plugin;
    const char* use;
  } parts[] = {{"codecs/opencv", "images and videos are not decoded"},
               {"reward_models/mrm", "no model runs here: LibTorch was absent when this was built"},
               {"trainers/native", "no training here: LibTorch was absent when this was built"},
               {"datasets/parquet", "Parquet is not read: Arrow was absent when this was built"}};
  for (const auto& [plugin, use] : parts) {
    const std::string name = plugin;
    const std::size_t slash = name.find('/');
    if (!installation.registry.find(name.substr(0, slash), name.substr(slash + 1)))
      findings.push_back({State::missing, name, use});
  }
}

void check_gpu(std::vector<Finding>& findings) {
  const std::string torch = loaded_library("libtorch_cpu.so");
  const bool cuda_build =
      !torch.empty() && fs::exists(fs::path(torch).parent_path() / "libtorch_cuda.so");
  if (!torch.empty())
    findings.push_back({State::good, "LibTorch",
                        fmt::format("{} build, {}", cuda_build ? "CUDA" : "CPU", shown(torch))});
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  using Init = int (*)(unsigned);
  using Count = int (*)(int*);
  using Name = int (*)(char*, int, int);
  using Memory = int (*)(std::size_t*, int);
  const auto init = driver ? reinterpret_cast<Init>(dlsym(driver, "cuInit")) : nullptr;
  const auto get_count =
      driver ? reinterpret_cast<Count>(dlsym(driver, "cuDeviceGetCount")) : nullptr;
  const auto name = driver ? reinterpret_cast<Name>(dlsym(driver, "cuDeviceGetName")) : nullptr;
  const auto memory =
      driver ? reinterpret_cast<Memory>(dlsym(driver, "cuDeviceTotalMem_v2")) : nullptr;
  int count = 0;
  if (!init || !get_count || init(0) != 0 || get_count(&count) != 0) count = 0;
  for (int i = 0; i < count; ++i) {
    char text[128] = "?";
    std::size_t bytes = 0;
    if (name) name(text, sizeof text, i);
    if (memory) memory(&bytes, i);
    findings.push_back(
        {State::good, fmt::format("GPU {}", i),
         fmt::format("{}, {:.0f} GiB", text, static_cast<double>(bytes) / (1 << 30))});
  }
  if (count == 0) findings.push_back({State::note, "GPU", "none; models run on the processor"});
  if (count > 0 && !torch.empty() && !cuda_build)
    findings.push_back(
        {State::missing, "GPU",
         "is there, but this LibTorch is a CPU build: build with LIBTORCH_ROOT set to a CUDA one"});
}

void check_files(const SystemOptions& options, std::vector<Finding>& findings) {
  const fs::path profiles = find_profiles(fs::current_path() / "x.toml");
  std::string names;
  std::set<std::string> keys;
  std::error_code error;
  static const std::regex kKey(R"re(api_key_env\s*=\s*"([A-Za-z_][A-Za-z0-9_]*)")re");
  for (const auto& entry : fs::directory_iterator(profiles, error)) {
    if (entry.path().extension() != ".toml") continue;
    names += " " + entry.path().stem().string();
    const std::string text = read_file(entry.path());
    for (std::sregex_iterator at(text.begin(), text.end(), kKey), end; at != end; ++at)
      keys.insert((*at)[1]);
  }
  findings.push_back({names.empty() ? State::missing : State::good, "profiles",
                      names.empty() ? shown(profiles) + ": none are found"
                                    : fmt::format("{}:{}", shown(profiles), names)});
  const fs::path assets = report::assets_folder();
  const bool charts = fs::exists(assets / "chart.umd.js");
  findings.push_back(
      {!fs::exists(assets / "report.html") ? State::missing
       : charts                            ? State::good
                                           : State::note,
       "report pages",
       !fs::exists(assets / "report.html") ? shown(assets) + " is absent"
       : charts ? "with charts"
                : "tables without charts: the chart library was absent when this was built"});
  for (const std::string& key : keys) {
    const char* value = std::getenv(key.c_str());
    findings.push_back(
        {value && *value ? State::good : State::note, "key",
         fmt::format("{} is {}", key,
                     value && *value ? "set" : "not set; models of the profiles need it")});
  }
  for (fs::path folder : {fs::absolute(options.runs), fs::temp_directory_path()}) {
    const std::string name = shown(folder);
    while (!fs::exists(folder) && folder.has_parent_path()) folder = folder.parent_path();
    const fs::space_info space = fs::space(folder, error);
    const double gib = static_cast<double>(space.available) / (1 << 30);
    const bool writable = access(folder.c_str(), W_OK) == 0;
    findings.push_back({error || !writable ? State::missing
                        : gib < 5          ? State::note
                                           : State::good,
                        "disk",
                        error ? name + ": " + error.message()
                              : fmt::format("{}: {:.1f} GiB free{}", name, gib,
                                            writable ? "" : ", cannot be written")});
  }
}

Finding check_endpoint(const std::string& url) {
  CURL* curl = curl_easy_init();
  if (!curl) return {State::missing, "endpoint", "libcurl does not start"};
  char problem[CURL_ERROR_SIZE] = {};
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOBODY, 0L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 5L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT, 10L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
  curl_easy_setopt(
      curl, CURLOPT_WRITEFUNCTION,
      +[](char*, std::size_t size, std::size_t count, void*) { return size * count; });
  const CURLcode code = curl_easy_perform(curl);
  long status = 0;
  double seconds = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(curl, CURLINFO_TOTAL_TIME, &seconds);
  curl_easy_cleanup(curl);
  if (code != CURLE_OK)
    return {State::missing, "endpoint",
            fmt::format("{}: {}", url, problem[0] ? problem : curl_easy_strerror(code))};
  // Whatever it answers without a key and at this path, it is there.
  return {status >= 500 ? State::missing : State::good, "endpoint",
          fmt::format("{}: answers with status {} after {:.0f} ms", url, status, 1000 * seconds)};
}

}  // namespace

std::vector<Finding> check_system(const SystemOptions& options) {
  std::vector<Finding> findings;
  findings.push_back({State::good, "dt2it",
                      program_version() + ", " + fs::read_symlink("/proc/self/exe").string()});
  const double memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) *
                        static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 30);
  findings.push_back(
      {State::good, "machine",
       fmt::format("{} cores, {:.0f} GiB memory", std::thread::hardware_concurrency(), memory)});
  check_plugins(options, findings);
  check_gpu(findings);
  check_files(options, findings);
  for (const std::string& url : options.endpoints) findings.push_back(check_endpoint(url));
  return findings;
}

}  // namespace dt2it::cli
