-- POSTs ConfigMaps of about SIZE bytes, each under a name of its own.
local headers = {
  ["Authorization"] = "Bearer " .. os.getenv("TOKEN"),
  ["Content-Type"] = "application/json",
  ["Accept"] = "application/json",
  ["User-Agent"] = "bench/1.0",
}
local filler = string.rep("x", tonumber(os.getenv("SIZE")) - 100)
local count = 0

function request()
  count = count + 1
  local body = string.format(
    '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"made-%d"},"data":{"value":"%s"}}', count, filler)
  return wrk.format("POST", "/api/v1/namespaces/default/configmaps", headers, body)
end
