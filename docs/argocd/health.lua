-- Health of a PaymentSystem for Argo CD. docs/argocd.md says how to install it and what each state means.
-- Only the language itself: Argo CD opens almost no library for health checks.

local function health(status, message)
  return { status = status, message = message }
end

if obj.metadata.deletionTimestamp ~= nil then
  return health("Progressing", "it is being deleted")
end

-- Conditions of an earlier specification say nothing of this one; -1 means that none was looked at.
local status = obj.status or {}
if status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "the operator has not looked at generation " .. obj.metadata.generation .. " yet")
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function holds(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local ready = conditions.Ready or { message = "the operator has not said yet whether it is ready" }

-- Before Suspended: of a specification that cannot work nothing takes effect, not even that it is to pause or stop.
if holds("Stalled") then
  return health("Degraded", conditions.Stalled.reason .. ": " .. conditions.Stalled.message)
end
if obj.spec.paused or holds("Paused") or holds("Stopped") then
  return health("Suspended", ready.message)
end
if holds("Ready") then
  return health("Healthy", ready.message)
end
return health("Progressing", ready.message)
