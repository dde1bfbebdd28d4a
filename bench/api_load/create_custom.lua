-- POSTs objects of the custom kind of api_load/custom_kind.json, each under a name of its own.
local headers = {
  ["Authorization"] = "Bearer " .. os.getenv("TOKEN"),
  ["Content-Type"] = "application/json",
  ["Accept"] = "application/json",
  ["User-Agent"] = "bench/1.0",
}
local path = os.getenv("COLLECTION")
local spec = [[{"minReplicas":1,"replicas":3,"maxReplicas":5,"mode":"Auto","host":"shop.example.com",
"size":"2Gi","limit":"4Gi","labels":{"team":"a","tier":"web"},"ports":[{"name":"http","port":80,"protocol":"TCP"},
{"name":"https","port":443,"protocol":"TCP"}],"schedule":{"every":"1h","until":"2027-01-01T00:00:00Z"}}]]
local count = 0

function request()
  count = count + 1
  local body = string.format(
    '{"apiVersion":"bench.example.com/v1","kind":"Shop","metadata":{"name":"made-%d"},"spec":%s}', count, spec)
  return wrk.format("POST", path, headers, body)
end
