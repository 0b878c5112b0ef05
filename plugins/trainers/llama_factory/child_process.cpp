// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/llama_factory/child_process.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <thread>

#include "dt2it/error.hpp"

namespace dt2it::llama_factory {
namespace {

// Runs in the child: only what is allowed between fork and exec. Never returns.
[[noreturn]] void become(char* const* arguments, char* const* environment, const char* folder,
                         int log, int report, pid_t parent) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_DFL);
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing >= 0 && ::dup2(nothing, 0) >= 0 && ::dup2(log, 1) >= 0 && ::dup2(log, 2) >= 0 &&
      ::chdir(folder) == 0)
    ::execvpe(arguments[0], arguments, environment);
  const int reason = errno;
  [[maybe_unused]] const ssize_t written = ::write(report, &reason, sizeof reason);
  ::_exit(127);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> merged_environment(const std::map<std::string, std::string>& added) {
  std::vector<std::string> result;
  for (char** entry = ::environ; *entry; ++entry) {
    const std::string_view text = *entry;
    if (!added.contains(std::string(text.substr(0, text.find('='))))) result.emplace_back(text);
  }
  for (const auto& [name, value] : added) result.push_back(name + "=" + value);
  return result;
}

}  // namespace

ChildProcess::ChildProcess(const ChildCommand& command) {
  if (command.arguments.empty()) throw Error("there is no program to start");
  std::vector<std::string> arguments = command.arguments,
                           environment = merged_environment(command.environment);
  const std::vector<char*> argv = pointers(arguments), envp = pointers(environment);
  const int log = ::open(command.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0)
    throw Error(
        fmt::format("{}: cannot be written: {}", command.log.string(), std::strerror(errno)));
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) {
    ::close(log);
    throw Error(fmt::format("no pipe: {}", std::strerror(errno)));
  }
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become(argv.data(), envp.data(), command.folder.c_str(), log, report[1], parent);
  int reason = pid_ < 0 ? errno : 0;
  ::close(log);
  ::close(report[1]);
  if (pid_ > 0) {
    ::setpgid(pid_, pid_);  // here too, so that stop() finds the group however early it comes
    ssize_t got;
    while ((got = ::read(report[0], &reason, sizeof reason)) < 0 && errno == EINTR) {
    }
    if (got <= 0) reason = 0;  // closed by exec
  }
  ::close(report[0]);
  if (reason == 0) return;
  if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  throw Error(
      fmt::format("'{}' cannot be started: {}", command.arguments[0], std::strerror(reason)));
}

ChildProcess::~ChildProcess() { stop(std::chrono::milliseconds(0)); }

std::optional<int> ChildProcess::poll() {
  if (code_) return code_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) == pid_)
    code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return code_;
}

int ChildProcess::stop(std::chrono::milliseconds grace) {
  const auto end = std::chrono::steady_clock::now() + grace;
  if (!poll() && grace.count() > 0) ::kill(-pid_, SIGTERM);
  while (!poll() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ::kill(-pid_, SIGKILL);  // also what it has left behind
  while (!poll()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return *code_;
}

}  // namespace dt2it::llama_factory
